// The fused modulated convolution as a torch operator on CUDA tensors: checks, layouts,
// registration.
#include "cuda/modulated_conv2d_kernel.cuh"
#include "cuda_ops/activation.h"
#include "cuda_ops/launch.h"

namespace fastgan::cuda::modulated_conv2d {
namespace {

// [C_out, C_in, kh, kw] as [C_out, kh, kw, C_in]: what is summed over becomes contiguous.
Tensor packed(const Tensor& weight) {
  return torch::stable::contiguous(
      torch::stable::transpose(torch::stable::transpose(weight, 1, 2), 2, 3));
}

Call make_call(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& noise,
               int64_t up, const std::vector<int64_t>& padding, const std::string& act,
               double alpha, double gain, double clamp, bool allow_tf32) {
  STD_TORCH_CHECK(weight.dim() == 4 && weight.size(1) == x.size(1),
                  "modulated_conv2d_fused: weight must be [C_out, ", x.size(1), ", kh, kw]");
  STD_TORCH_CHECK(padding.size() == 4, "modulated_conv2d_fused: padding must be [x0, x1, y0, y1]");
  Call call{};
  call.batch = x.size(0), call.in_channels = x.size(1), call.out_channels = weight.size(0);
  call.height = x.size(2), call.width = x.size(3);
  call.kernel_height = weight.size(2), call.kernel_width = weight.size(3), call.up = up;
  std::copy(padding.begin(), padding.end(), call.padding);
  call.act = static_cast<int>(parse_activation("modulated_conv2d_fused", act));
  call.alpha = alpha, call.gain = gain, call.clamp = clamp;
  call.x_channels_last = call.y_channels_last = is_channels_last(x);
  call.noise_per_sample = noise && noise->dim() == 4 && noise->size(0) > 1;
  call.allow_tf32 = allow_tf32;
  STD_TORCH_CHECK(call.out_height() >= 0 && call.out_width() >= 0,
                  "modulated_conv2d_fused: the weight is larger than the padded image");
  return call;
}

void check_optional(const DeviceCall& device, const char* name, const std::optional<Tensor>& tensor,
                    ScalarType type, int64_t numel) {
  if (tensor) device.check_numel(name, *tensor, type, numel);
}

Tensor fused(const Tensor& x_in, const Tensor& weight_in, const Tensor& in_scale_in,
             const std::optional<Tensor>& out_scale_in, const std::optional<Tensor>& noise_in,
             const std::optional<Tensor>& bias_in, const std::optional<Tensor>& taps, int64_t up,
             std::vector<int64_t> padding, const std::string& act, double alpha, double gain,
             double clamp, bool allow_tf32) {
  const DeviceCall device("modulated_conv2d_fused", x_in);
  const Tensor x = image("modulated_conv2d_fused", x_in);
  const Call call =
      make_call(x, weight_in, noise_in, up, padding, act, alpha, gain, clamp, allow_tf32);
  const ScalarType type = compute_type(x);
  const int64_t pixels = call.out_height() * call.out_width();
  device.check_type("weight", weight_in, x.scalar_type());
  device.check_numel("in_scale", in_scale_in, type, call.batch * call.in_channels);
  check_optional(device, "out_scale", out_scale_in, type, call.batch * call.out_channels);
  check_optional(device, "noise", noise_in, type,
                 (call.noise_per_sample ? call.batch : 1) * pixels);
  check_optional(device, "bias", bias_in, type, call.out_channels);
  STD_TORCH_CHECK((up == 2) == taps.has_value(),
                  "modulated_conv2d_fused: taps come with up = 2, and only then");
  check_optional(device, "taps", taps, ScalarType::Float, 4);

  Tensor y =
      empty_images(x, call.out_channels, call.out_height(), call.out_width(), call.y_channels_last);
  const Tensor weight = packed(weight_in), in_scale = torch::stable::contiguous(in_scale_in);
  const std::optional<Tensor> out_scale = contiguous(out_scale_in), noise = contiguous(noise_in);
  const std::optional<Tensor> bias = contiguous(bias_in), filter = contiguous(taps);
  bool served = false;
  dispatch_storage("modulated_conv2d_fused", x.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    const Tensors<T> tensors{data<T>(x),
                             data<T>(weight),
                             data<A>(in_scale),
                             data_or_null<A>(out_scale),
                             data_or_null<A>(noise),
                             data_or_null<A>(bias),
                             data_or_null<float>(filter),
                             mutable_data<T>(y)};
    served = launch_modulated_conv2d<T>(call, tensors, device.stream());
  });
  STD_TORCH_CHECK(served,
                  "modulated_conv2d_fused: no kernel serves an image, a factor or a grid of this "
                  "size; ask for backend='reference'");
  device.check_launches();
  return y;
}

}  // namespace
}  // namespace fastgan::cuda::modulated_conv2d

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cuda, m) {
  m.def(
      "modulated_conv2d_fused(Tensor x, Tensor weight, Tensor in_scale, Tensor? out_scale, "
      "Tensor? noise, Tensor? bias, Tensor? taps, int up, int[] padding, str act, float alpha, "
      "float gain, float clamp, bool allow_tf32) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cuda, CUDA, m) {
  m.impl("modulated_conv2d_fused", TORCH_BOX(&fastgan::cuda::modulated_conv2d::fused));
}
