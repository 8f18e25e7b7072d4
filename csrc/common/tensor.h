// What the launchers need of torch: the stable ABI, checks, a dtype switch, layouts.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/Dispatch.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "common/dtype.h"

namespace fastgan {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Runs `body` (a generic lambda) with a value of the storage type that `type` names.
template <typename Body>
void dispatch_dtype(const char* op, ScalarType type, const Body& body) {
  switch (type) {
    case ScalarType::Float:
      return body(float{});
    case ScalarType::Double:
      return body(double{});
    case ScalarType::Half:
      return body(float16{});
    case ScalarType::BFloat16:
      return body(bfloat16{});
    default:
      STD_TORCH_CHECK(false, op, ": expected float32, float64, float16 or bfloat16");
  }
}

template <typename T>
const T* data(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}

template <typename T>
T* mutable_data(const Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

// The type that kernels compute in: acc_t in torch's words.
inline ScalarType compute_type(const Tensor& x) {
  return x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

// Raises unless `tensor` is a CPU tensor of a dtype and a number of elements: kernels take both on
// trust.
inline void check_numel(const char* op, const char* name, const Tensor& tensor, ScalarType type,
                        int64_t numel) {
  STD_TORCH_CHECK(tensor.is_cpu(), op, ": ", name, " must be a CPU tensor");
  STD_TORCH_CHECK(tensor.scalar_type() == type, op, ": ", name, " has the wrong dtype");
  STD_TORCH_CHECK(tensor.numel() == numel, op, ": ", name, " must have ", numel, " elements, got ",
                  tensor.numel());
}

// Raises unless `tensor` has the shape and dtype of `like`.
inline void check_like(const char* op, const char* name, const Tensor& tensor, const Tensor& like) {
  check_numel(op, name, tensor, like.scalar_type(), like.numel());
  bool same = tensor.dim() == like.dim();
  for (int64_t d = 0; same && d < like.dim(); ++d) same = tensor.size(d) == like.size(d);
  STD_TORCH_CHECK(same, op, ": ", name, " has another shape than the tensor it belongs to");
}

// True when the elements fill one block of memory, each exactly once, in any order of dimensions.
inline bool is_dense(const Tensor& tensor) {
  std::vector<std::pair<int64_t, int64_t>> strides;  // (stride, size) of the dims that step
  for (int64_t d = 0; d < tensor.dim(); ++d) {
    if (tensor.size(d) == 0) return true;
    if (tensor.size(d) > 1) strides.emplace_back(tensor.stride(d), tensor.size(d));
  }
  std::sort(strides.begin(), strides.end());
  int64_t expected = 1;
  for (const auto& [stride, size] : strides) {
    if (stride != expected) return false;
    expected *= size;
  }
  return true;
}

// True for a 4-D tensor whose channels are innermost in memory (and that is not also contiguous).
inline bool is_channels_last(const Tensor& x) {
  if (x.dim() != 4 || x.is_contiguous()) return false;
  const int64_t channels = x.size(1), height = x.size(2), width = x.size(3);
  const int64_t expected[4] = {channels * height * width, 1, width * channels, channels};
  for (int d = 0; d < 4; ++d) {
    if (x.size(d) > 1 && x.stride(d) != expected[d]) return false;
  }
  return true;
}

inline bool same_strides(const Tensor& a, const Tensor& b) {
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) > 1 && a.stride(d) != b.stride(d)) return false;
  }
  return true;
}

// `tensor` in the memory order of `like`: itself when it has that order already, else a copy.
inline Tensor in_layout_of(const Tensor& tensor, const Tensor& like) {
  if (same_strides(tensor, like)) return tensor;
  Tensor copy = torch::stable::empty_like(like);
  torch::stable::copy_(copy, tensor);
  return copy;
}

}  // namespace fastgan
