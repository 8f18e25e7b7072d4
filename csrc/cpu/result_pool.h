// Memory of large results, kept when a result is freed and handed to the next one.
//
// The C library returns large blocks to the system. Every result would then be mapped afresh and
// cleared page by page, which takes longer than a memory-bound kernel does. Newest blocks come
// first, as they are still in a cache. Results from the pool cannot be resized in place.
#pragma once

#include <optional>
#include <vector>

#include "common/tensor.h"

namespace fastgan::cpu {

// An uninitialised CPU tensor; strides must fill one block. Small results, and all of them where
// this torch (below 2.11) or system has not what the pool needs, come from torch as ever.
Tensor empty_result(const std::vector<int64_t>& sizes, const std::vector<int64_t>& strides,
                    ScalarType type);

// An uninitialised result in the shape, dtype and memory order of `x`.
Tensor result_like(const Tensor& x);

}  // namespace fastgan::cpu
