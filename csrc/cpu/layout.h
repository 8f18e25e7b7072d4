// Memory orders of float32 images: kernels that read and write channels innermost take, and return,
// contiguous images through these copies, which cost a fraction of what torch's do.
#pragma once

#include "common/tensor.h"

namespace fastgan::cpu {

// An uninitialised image with channels innermost, also where one pixel makes it contiguous as well.
Tensor channels_last_result(int64_t samples, int64_t channels, int64_t height, int64_t width);

// `x` with channels innermost: itself, or a copy.
Tensor as_channels_last(const Tensor& x);

// `y`, which has channels innermost, in the order of an op's results for the image `x`: itself
// where x is channels_last alone, else a contiguous copy.
Tensor in_order_of(const Tensor& x, const Tensor& y);

}  // namespace fastgan::cpu
