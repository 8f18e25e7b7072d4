// bias_act as torch operators on CUDA tensors: checks, layouts, workspace, registration.
#include <cmath>

#include "cuda/bias_act_kernel.cuh"
#include "cuda_ops/activation.h"
#include "cuda_ops/launch.h"

namespace fastgan::cuda {
namespace {

int64_t channels_of(const Tensor& x, int64_t dim) {
  if (x.dim() == 0) return 1;
  STD_TORCH_CHECK(dim >= 0 && dim < x.dim(), "bias_act: dim ", dim, " is out of range for ",
                  x.dim(), " dimensions");
  return x.size(dim);
}

// A dense x as [outer, channels, inner] in the order in which it lies in memory.
BiasActShape shape_of(const Tensor& x, int64_t dim, bool per_channel) {
  const int64_t channels = per_channel ? channels_of(x, dim) : 1, numel = x.numel();
  if (channels <= 1 || numel == 0) return {1, channels, channels == 0 ? 0 : numel / channels};
  const int64_t inner = x.stride(dim);
  return {numel / (channels * inner), channels, inner};
}

Tensor bias_act(const Tensor& x_in, const std::optional<Tensor>& bias_in, int64_t dim,
                const std::string& act, double alpha, double gain, double clamp) {
  const DeviceCall call("bias_act", x_in);
  if (bias_in) {
    call.check_numel("bias", *bias_in, x_in.scalar_type(), channels_of(x_in, dim));
  }
  const Tensor x = dense(x_in);
  Tensor y = result_like(x);
  const std::optional<Tensor> bias = contiguous(bias_in);
  const BiasActShape shape = shape_of(x, dim, bias.has_value());
  dispatch_storage("bias_act", x.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    const auto k =
        make_coefficients<acc_t<T>>(parse_activation("bias_act", act), alpha, gain, clamp);
    launch_bias_act<T>(data<T>(x), data_or_null<T>(bias), mutable_data<T>(y), shape, k,
                       call.stream());
  });
  call.check_launches();
  return y;
}

std::tuple<Tensor, Tensor> bias_act_grad(const Tensor& grad_y_in, const Tensor& ref_in,
                                         const std::optional<Tensor>& bias_in, int64_t dim,
                                         const std::string& act, double alpha, double gain,
                                         double clamp, bool from_output, bool with_bias) {
  const DeviceCall call("bias_act_grad", ref_in);
  call.check_like("grad_y", grad_y_in, ref_in);
  const int64_t channels = channels_of(ref_in, dim);
  if (bias_in) call.check_numel("bias", *bias_in, ref_in.scalar_type(), channels);
  const Tensor ref = dense(ref_in);
  Tensor grad_x = result_like(ref);
  Tensor sums = torch::stable::new_zeros(ref, {with_bias ? channels : 0});
  if (ref.numel() == 0) return {grad_x, sums};
  const Tensor grad_y = in_layout_of(grad_y_in, ref);
  const std::optional<Tensor> bias = from_output ? std::nullopt : contiguous(bias_in);
  const BiasActShape shape = shape_of(ref, dim, with_bias || bias.has_value());
  const Tensor workspace = workspace_of(ref, with_bias ? bias_act_workspace(shape) : 0);
  dispatch_storage("bias_act_grad", ref.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    const auto k =
        make_coefficients<A>(parse_activation("bias_act", act), alpha, gain, clamp, from_output);
    launch_bias_act_grad<T>(data<T>(ref), data<T>(grad_y), data_or_null<T>(bias),
                            mutable_data<T>(grad_x), with_bias ? mutable_data<T>(sums) : nullptr,
                            mutable_data<A>(workspace), shape, k, call.stream());
  });
  call.check_launches();
  return {grad_x, sums};
}

Tensor bias_act_grad2(const Tensor& grad_grad_x_in, const Tensor& grad_y_in, const Tensor& x_in,
                      const std::optional<Tensor>& bias_in, int64_t dim, const std::string& act,
                      double alpha, double gain, double clamp) {
  const DeviceCall call("bias_act_grad2", x_in);
  call.check_like("grad_y", grad_y_in, x_in);
  call.check_like("grad_grad_x", grad_grad_x_in, x_in);
  if (bias_in) {
    call.check_numel("bias", *bias_in, x_in.scalar_type(), channels_of(x_in, dim));
  }
  const Tensor x = dense(x_in);
  Tensor out = result_like(x);
  const Tensor grad_grad_x = in_layout_of(grad_grad_x_in, x);
  const Tensor grad_y = in_layout_of(grad_y_in, x);
  const std::optional<Tensor> bias = contiguous(bias_in);
  const BiasActShape shape = shape_of(x, dim, bias.has_value());
  dispatch_storage("bias_act_grad2", x.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    const auto k =
        make_coefficients<acc_t<T>>(parse_activation("bias_act", act), alpha, gain, clamp);
    launch_bias_act_grad2<T>(data<T>(x), data<T>(grad_y), data<T>(grad_grad_x),
                             data_or_null<T>(bias), mutable_data<T>(out), shape, k, call.stream());
  });
  call.check_launches();
  return out;
}

}  // namespace
}  // namespace fastgan::cuda

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cuda, m) {
  m.def(
      "bias_act(Tensor x, Tensor? bias, int dim, str act, float alpha, float gain, float clamp) -> "
      "Tensor");
  m.def(
      "bias_act_grad(Tensor grad_y, Tensor ref, Tensor? bias, int dim, str act, float alpha, "
      "float gain, float clamp, bool from_output, bool with_bias) -> (Tensor, Tensor)");
  m.def(
      "bias_act_grad2(Tensor grad_grad_x, Tensor grad_y, Tensor x, Tensor? bias, int dim, str act, "
      "float alpha, float gain, float clamp) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cuda, CUDA, m) {
  m.impl("bias_act", TORCH_BOX(&fastgan::cuda::bias_act));
  m.impl("bias_act_grad", TORCH_BOX(&fastgan::cuda::bias_act_grad));
  m.impl("bias_act_grad2", TORCH_BOX(&fastgan::cuda::bias_act_grad2));
}
