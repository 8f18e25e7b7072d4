// noise_bias_act as a torch operator on CUDA tensors: checks, layouts, registration.
#include "cuda/noise_bias_act_kernel.cuh"
#include "cuda_ops/activation.h"
#include "cuda_ops/launch.h"

namespace fastgan::cuda::noise_bias_act {
namespace {

Tensor forward_images(const Tensor& x_in, const std::optional<Tensor>& noise_in,
                      const std::optional<Tensor>& bias_in, const std::string& act, double alpha,
                      double gain, double clamp) {
  const DeviceCall call("noise_bias_act", x_in);
  const Tensor x = image("noise_bias_act", x_in);
  const bool same = noise_in && noise_in->size(0) == 1 && x.size(0) != 1;
  const Images images{x.size(0), x.size(1), x.size(2) * x.size(3), is_channels_last(x), same};
  if (noise_in) {
    call.check_numel("noise", *noise_in, compute_type(x), (same ? 1 : x.size(0)) * images.pixels);
  }
  if (bias_in) call.check_numel("bias", *bias_in, x.scalar_type(), images.channels);
  Tensor y = result_like(x);
  const std::optional<Tensor> noise = contiguous(noise_in), bias = contiguous(bias_in);
  const Activation activation = parse_activation("noise_bias_act", act);
  dispatch_storage("noise_bias_act", x.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    launch<T>(data<T>(x), data_or_null<A>(noise), data_or_null<T>(bias), mutable_data<T>(y), images,
              make_coefficients<A>(activation, alpha, gain, clamp), call.stream());
  });
  call.check_launches();
  return y;
}

}  // namespace
}  // namespace fastgan::cuda::noise_bias_act

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cuda, m) {
  m.def(
      "noise_bias_act(Tensor x, Tensor? noise, Tensor? bias, str act, float alpha, float gain, "
      "float clamp) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cuda, CUDA, m) {
  m.impl("noise_bias_act", TORCH_BOX(&fastgan::cuda::noise_bias_act::forward_images));
}
