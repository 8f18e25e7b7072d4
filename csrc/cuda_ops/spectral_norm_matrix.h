// How the kernels of spectral_norm see a weight tensor, for its operators: alone and in a group.
#pragma once

#include <utility>

#include "cuda_ops/launch.h"

namespace fastgan::cuda::spectral_norm {

// A dense weight as [outer, rows, inner] in the order in which it lies in memory.
struct Matrix {
  int64_t outer, rows, inner;
  int64_t cols() const { return outer * inner; }
};

inline int64_t columns_of(const Tensor& weight, int64_t dim) {
  int64_t cols = 1;
  for (int64_t d = 0; d < weight.dim(); ++d) cols *= d == dim ? 1 : weight.size(d);
  return cols;
}

inline Matrix matrix_of(const Tensor& weight, int64_t dim) {
  const int64_t rows = weight.size(dim), cols = columns_of(weight, dim);
  if (rows <= 1 || cols == 0) return {1, rows, cols};
  const int64_t inner = weight.stride(dim);
  return {cols / inner, rows, inner};
}

// The other dimensions of a weight as they follow each other in memory, but for those of one
// element; empty when that is their own order.
inline std::vector<int64_t> memory_order(const Tensor& weight, int64_t dim) {
  std::vector<int64_t> order;
  for (int64_t d = 0; d < weight.dim(); ++d) {
    if (d != dim && weight.size(d) > 1) order.push_back(d);
  }
  const auto before = [&](int64_t a, int64_t b) { return weight.stride(a) > weight.stride(b); };
  if (weight.numel() == 0 || std::is_sorted(order.begin(), order.end(), before)) return {};
  std::sort(order.begin(), order.end(), before);
  return order;
}

// A contiguous [cols] vector whose dimensions follow each other in the order `from`, with them in
// the order `to`. Both name the dimensions of the weight.
inline Tensor reordered(const Tensor& vector, const Tensor& weight, std::vector<int64_t> from,
                        const std::vector<int64_t>& to) {
  std::vector<int64_t> sizes;
  for (const int64_t d : from) sizes.push_back(weight.size(d));
  Tensor view = torch::stable::view(vector, sizes);
  for (size_t i = 0; i < to.size(); ++i) {
    const size_t at = std::find(from.begin() + i, from.end(), to[i]) - from.begin();
    if (at == i) continue;
    view = torch::stable::transpose(view, static_cast<int64_t>(i), static_cast<int64_t>(at));
    std::swap(from[i], from[at]);
  }
  return torch::stable::flatten(torch::stable::contiguous(view));
}

inline std::vector<int64_t> sorted(std::vector<int64_t> order) {
  std::sort(order.begin(), order.end());
  return order;
}

// v as the kernels write it, with its columns in their own order.
inline Tensor from_memory_order(const Tensor& v, const Tensor& weight, int64_t dim) {
  const std::vector<int64_t> order = memory_order(weight, dim);
  return order.empty() ? v : reordered(v, weight, order, sorted(order));
}

// The inverse: v as the kernels read it, contiguous.
inline Tensor in_memory_order(const Tensor& v_in, const Tensor& weight, int64_t dim) {
  const Tensor v = torch::stable::contiguous(v_in);
  const std::vector<int64_t> order = memory_order(weight, dim);
  return order.empty() ? v : reordered(v, weight, sorted(order), order);
}

inline void check_weight(const DeviceCall& call, const char* op, const Tensor& weight,
                         const Tensor& u, int64_t dim) {
  STD_TORCH_CHECK(weight.dim() > 0 && dim >= 0 && dim < weight.dim(), op, ": dim ", dim,
                  " is out of range for a weight of ", weight.dim(), " dimensions");
  call.check_numel("u", u, weight.scalar_type(), weight.size(dim));
}

}  // namespace fastgan::cuda::spectral_norm
