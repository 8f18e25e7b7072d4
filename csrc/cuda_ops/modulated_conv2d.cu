// The passes of modulated_conv2d around its convolution as torch operators on CUDA tensors: checks,
// layouts, workspace, registration.
#include "cuda/modulated_conv2d_scale.cuh"
#include "cuda_ops/launch.h"

namespace fastgan::cuda::modulated_scale {
namespace {

ScaleShape shape_of(const Tensor& x) {
  return {x.size(0), x.size(1), x.size(2) * x.size(3), is_channels_last(x)};
}

Tensor scale_images(const Tensor& x_in, const Tensor& factors_in,
                    const std::optional<Tensor>& noise_in) {
  const DeviceCall call("modulated_conv2d_scale", x_in);
  const Tensor x = image("modulated_conv2d_scale", x_in);
  const ScaleShape shape = shape_of(x);
  const ScalarType type = compute_type(x);
  call.check_numel("scale", factors_in, type, shape.samples * shape.channels);
  if (noise_in) call.check_numel("noise", *noise_in, type, shape.samples * shape.pixels);
  Tensor y = result_like(x);
  const Tensor factors = torch::stable::contiguous(factors_in);
  const std::optional<Tensor> noise = contiguous(noise_in);
  dispatch_storage("modulated_conv2d_scale", x.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    launch_scale<T>(data<T>(x), data<A>(factors), data_or_null<A>(noise), mutable_data<T>(y), shape,
                    call.stream());
  });
  call.check_launches();
  return y;
}

std::tuple<Tensor, Tensor, Tensor> scale_images_grad(const Tensor& grad_y_in, const Tensor& x_in,
                                                     const Tensor& factors_in, bool with_noise) {
  const DeviceCall call("modulated_conv2d_scale_grad", x_in);
  const Tensor x = image("modulated_conv2d_scale", x_in);
  const ScaleShape shape = shape_of(x);
  call.check_like("grad_y", grad_y_in, x_in);
  call.check_numel("scale", factors_in, compute_type(x), shape.samples * shape.channels);
  Tensor grad_x = result_like(x);
  Tensor grad_scale = torch::stable::new_zeros(factors_in, {shape.samples, shape.channels});
  Tensor grad_noise =
      with_noise ? torch::stable::new_zeros(factors_in, {shape.samples, 1, x.size(2), x.size(3)})
                 : torch::stable::new_zeros(factors_in, {0});
  if (x.numel() == 0) return {grad_x, grad_scale, grad_noise};
  const Tensor grad_y = in_layout_of(grad_y_in, x);
  const Tensor factors = torch::stable::contiguous(factors_in);
  dispatch_storage("modulated_conv2d_scale_grad", x.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    ScaleGrad<T> grad{data<T>(grad_y),
                      data<T>(x),
                      data<A>(factors),
                      mutable_data<T>(grad_x),
                      mutable_data<A>(grad_scale),
                      with_noise ? mutable_data<A>(grad_noise) : nullptr,
                      nullptr,
                      shape,
                      call.stream()};
    const Tensor workspace = cuda::workspace_of(x, scale_grad_workspace<T>(grad));
    grad.workspace = mutable_data<A>(workspace);
    launch_scale_grad<T>(grad);
  });
  call.check_launches();
  return {grad_x, grad_scale, grad_noise};
}

}  // namespace
}  // namespace fastgan::cuda::modulated_scale

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cuda, m) {
  m.def("modulated_conv2d_scale(Tensor x, Tensor scale, Tensor? noise) -> Tensor");
  m.def(
      "modulated_conv2d_scale_grad(Tensor grad_y, Tensor x, Tensor scale, bool with_noise) -> "
      "(Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cuda, CUDA, m) {
  m.impl("modulated_conv2d_scale", TORCH_BOX(&fastgan::cuda::modulated_scale::scale_images));
  m.impl("modulated_conv2d_scale_grad",
         TORCH_BOX(&fastgan::cuda::modulated_scale::scale_images_grad));
}
