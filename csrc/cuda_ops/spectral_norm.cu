// spectral_norm as torch operators on CUDA tensors: checks, layouts, workspaces, registration.
#include <utility>

#include "cuda/spectral_norm_grad_kernel.cuh"
#include "cuda/spectral_norm_kernel.cuh"
#include "cuda_ops/launch.h"

namespace fastgan::cuda::spectral_norm {
namespace {

// A dense weight as [outer, rows, inner] in the order in which it lies in memory.
struct Matrix {
  int64_t outer, rows, inner;
  int64_t cols() const { return outer * inner; }
};

int64_t columns_of(const Tensor& weight, int64_t dim) {
  int64_t cols = 1;
  for (int64_t d = 0; d < weight.dim(); ++d) cols *= d == dim ? 1 : weight.size(d);
  return cols;
}

Matrix matrix_of(const Tensor& weight, int64_t dim) {
  const int64_t rows = weight.size(dim), cols = columns_of(weight, dim);
  if (rows <= 1 || cols == 0) return {1, rows, cols};
  const int64_t inner = weight.stride(dim);
  return {cols / inner, rows, inner};
}

// The other dimensions of a weight as they follow each other in memory, but for those of one
// element; empty when that is their own order.
std::vector<int64_t> memory_order(const Tensor& weight, int64_t dim) {
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
Tensor reordered(const Tensor& vector, const Tensor& weight, std::vector<int64_t> from,
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

std::vector<int64_t> sorted(std::vector<int64_t> order) {
  std::sort(order.begin(), order.end());
  return order;
}

void check(const DeviceCall& call, const Tensor& weight, const Tensor& u, int64_t dim) {
  STD_TORCH_CHECK(weight.dim() > 0 && dim >= 0 && dim < weight.dim(), "spectral_norm: dim ", dim,
                  " is out of range for a weight of ", weight.dim(), " dimensions");
  call.check_numel("u", u, weight.scalar_type(), weight.size(dim));
}

std::tuple<Tensor, Tensor, Tensor, Tensor> normalize_weight(const Tensor& weight_in,
                                                            const Tensor& u_in,
                                                            int64_t n_power_iterations, double eps,
                                                            int64_t dim) {
  const DeviceCall call("spectral_norm", weight_in);
  check(call, weight_in, u_in, dim);
  const Tensor weight = dense(weight_in), u = torch::stable::contiguous(u_in);
  const Matrix m = matrix_of(weight, dim);
  Tensor normalized = result_like(weight), sigma = torch::stable::new_empty(weight, {});
  Tensor u_new = torch::stable::new_empty(weight, {m.rows});
  Tensor v = torch::stable::new_empty(weight, {m.cols()});
  const Tensor right = workspace_of(weight, m.cols()), left = workspace_of(weight, m.rows);
  dispatch_storage("spectral_norm", weight.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    Layer<T> layer{data<T>(weight),
                   data<T>(u),
                   mutable_data<T>(normalized),
                   mutable_data<T>(u_new),
                   mutable_data<T>(v),
                   mutable_data<T>(sigma),
                   mutable_data<A>(right),
                   mutable_data<A>(left),
                   m.outer,
                   m.rows,
                   m.inner,
                   {}};
    const FirstBlocks blocks = number_blocks(&layer, 1);
    launch<T>(One<Layer<T>>{layer}, blocks, n_power_iterations, eps, call.stream());
  });
  call.check_launches();
  const std::vector<int64_t> order = memory_order(weight, dim);
  if (!order.empty()) v = reordered(v, weight, order, sorted(order));
  return {normalized, sigma, u_new, v};
}

Tensor normalize_weight_grad(const Tensor& grad_in, const Tensor& grad_sigma,
                             const Tensor& weight_in, const Tensor& sigma, const Tensor& u_in,
                             const Tensor& v_in, int64_t dim) {
  const DeviceCall call("spectral_norm_grad", weight_in);
  check(call, weight_in, u_in, dim);
  const ScalarType type = weight_in.scalar_type();
  call.check_like("grad_normalized", grad_in, weight_in);
  call.check_numel("grad_sigma", grad_sigma, type, 1);
  call.check_numel("sigma", sigma, type, 1);
  call.check_numel("v", v_in, type, columns_of(weight_in, dim));
  const Tensor weight = dense(weight_in);
  Tensor out = result_like(weight);
  if (out.numel() == 0) return out;
  const Tensor grad = in_layout_of(grad_in, weight), u = torch::stable::contiguous(u_in);
  Tensor v = torch::stable::contiguous(v_in);
  const std::vector<int64_t> order = memory_order(weight, dim);
  if (!order.empty()) v = reordered(v, weight, sorted(order), order);
  const Matrix m = matrix_of(weight, dim);
  dispatch_storage("spectral_norm_grad", type, [&](auto tag) {
    using T = decltype(tag);
    const Tensor parts =
        torch::stable::new_empty(weight, {chunks_of<T>(weight.numel())}, ScalarType::Double);
    GradLayer<T> layer{data<T>(grad),
                       data<T>(grad_sigma),
                       data<T>(weight),
                       data<T>(sigma),
                       data<T>(u),
                       data<T>(v),
                       mutable_data<T>(out),
                       mutable_data<double>(parts),
                       m.outer,
                       m.rows,
                       m.inner,
                       {}};
    const FirstBlocks blocks = number_blocks(&layer, 1);
    launch_grad<T>(One<GradLayer<T>>{layer}, blocks, call.stream());
  });
  call.check_launches();
  return out;
}

}  // namespace
}  // namespace fastgan::cuda::spectral_norm

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cuda, m) {
  m.def(
      "spectral_norm(Tensor weight, Tensor u, int n_power_iterations, float eps, int dim) -> "
      "(Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "spectral_norm_grad(Tensor grad_normalized, Tensor grad_sigma, Tensor weight, Tensor sigma, "
      "Tensor u, Tensor v, int dim) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cuda, CUDA, m) {
  m.impl("spectral_norm", TORCH_BOX(&fastgan::cuda::spectral_norm::normalize_weight));
  m.impl("spectral_norm_grad", TORCH_BOX(&fastgan::cuda::spectral_norm::normalize_weight_grad));
}
