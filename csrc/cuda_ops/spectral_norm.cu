// spectral_norm as torch operators on CUDA tensors: checks, layouts, workspaces, registration.
#include "cuda/spectral_norm_grad_kernel.cuh"
#include "cuda/spectral_norm_kernel.cuh"
#include "cuda_ops/spectral_norm_matrix.h"

namespace fastgan::cuda::spectral_norm {
namespace {

std::tuple<Tensor, Tensor, Tensor, Tensor> normalize_weight(const Tensor& weight_in,
                                                            const Tensor& u_in,
                                                            int64_t n_power_iterations, double eps,
                                                            int64_t dim) {
  const DeviceCall call("spectral_norm", weight_in);
  check_weight(call, "spectral_norm", weight_in, u_in, dim);
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
  v = from_memory_order(v, weight, dim);
  return {normalized, sigma, u_new, v};
}

Tensor normalize_weight_grad(const Tensor& grad_in, const Tensor& grad_sigma,
                             const Tensor& weight_in, const Tensor& sigma, const Tensor& u_in,
                             const Tensor& v_in, int64_t dim) {
  const DeviceCall call("spectral_norm_grad", weight_in);
  check_weight(call, "spectral_norm_grad", weight_in, u_in, dim);
  const ScalarType type = weight_in.scalar_type();
  call.check_like("grad_normalized", grad_in, weight_in);
  call.check_numel("grad_sigma", grad_sigma, type, 1);
  call.check_numel("sigma", sigma, type, 1);
  call.check_numel("v", v_in, type, columns_of(weight_in, dim));
  const Tensor weight = dense(weight_in);
  Tensor out = result_like(weight);
  if (out.numel() == 0) return out;
  const Tensor grad = in_layout_of(grad_in, weight), u = torch::stable::contiguous(u_in);
  const Tensor v = in_memory_order(v_in, weight, dim);
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
