// upfirdn2d as a torch operator on CUDA tensors: checks, layouts, workspace, registration.
#include "cuda/upfirdn2d_kernel.cuh"

#include "cuda_ops/launch.h"

namespace fastgan::cuda::upfirdn2d {
namespace {

void check_filter(const DeviceCall& call, const Tensor& filter) {
  call.check_type("filter", filter, ScalarType::Float);
  STD_TORCH_CHECK(filter.numel() > 0 && (filter.dim() == 1 || filter.dim() == 2),
                  "upfirdn2d: filter must hold taps in 1 or 2 dimensions");
}

Call call_of(const Tensor& x, const Tensor& filter, const std::vector<int64_t>& up,
             const std::vector<int64_t>& down, const std::vector<int64_t>& padding,
             bool flip_filter, double gain) {
  STD_TORCH_CHECK(up.size() == 2 && down.size() == 2 && padding.size() == 4,
                  "upfirdn2d: up and down must be [x, y], padding [x0, x1, y0, y1]");
  STD_TORCH_CHECK(std::min({up[0], up[1], down[0], down[1]}) >= 1,
                  "upfirdn2d: up and down must be at least 1");
  Call call{x.size(0), x.size(1), x.size(2), x.size(3)};
  for (int d = 0; d < 4; ++d) call.strides[d] = x.stride(d);
  std::copy(up.begin(), up.end(), call.up);
  std::copy(down.begin(), down.end(), call.down);
  std::copy(padding.begin(), padding.end(), call.padding);
  call.filter_height = filter.size(0);
  call.filter_width = filter.size(filter.dim() - 1);
  call.separable = filter.dim() == 1;
  call.flip_filter = flip_filter;
  call.channels_last = is_channels_last(x);
  call.gain = gain;
  // The quotient of out_width and out_height rounds towards zero, so the numerators are compared.
  STD_TORCH_CHECK(call.width * up[0] + padding[0] + padding[1] >= call.filter_width &&
                      call.height * up[1] + padding[2] + padding[3] >= call.filter_height,
                  "upfirdn2d: the filter is larger than the padded image");
  return call;
}

Tensor upfirdn2d(const Tensor& x, const Tensor& filter_in, std::vector<int64_t> up,
                 std::vector<int64_t> down, std::vector<int64_t> padding, bool flip_filter,
                 double gain) {
  STD_TORCH_CHECK(x.dim() == 4, "upfirdn2d: x must have 4 dimensions, got ", x.dim());
  const DeviceCall device_call("upfirdn2d", x);
  check_filter(device_call, filter_in);
  const Call call = call_of(x, filter_in, up, down, padding, flip_filter, gain);
  Tensor y = empty_images(x, x.size(1), call.out_height(), call.out_width(), call.channels_last);
  if (y.numel() == 0) return y;
  const Tensor filter = torch::stable::contiguous(filter_in);
  dispatch_storage("upfirdn2d", x.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    const Kernel kernel = choose<T>(call);
    const Tensor workspace = workspace_of(x, workspace_numel(call, kernel));
    const bool launched =
        launch<T>(call, kernel, data<T>(x), data<float>(filter), mutable_data<T>(y),
                  mutable_data<acc_t<T>>(workspace), device_call.stream());
    STD_TORCH_CHECK(launched, "upfirdn2d: an axis of the upsampled, padded image is longer than ",
                    int64_t{1} << 29);
  });
  device_call.check_launches();
  return y;
}

}  // namespace
}  // namespace fastgan::cuda::upfirdn2d

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cuda, m) {
  m.def(
      "upfirdn2d(Tensor x, Tensor filter, int[] up, int[] down, int[] padding, bool flip_filter, "
      "float gain) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cuda, CUDA, m) {
  m.impl("upfirdn2d", TORCH_BOX(&fastgan::cuda::upfirdn2d::upfirdn2d));
}
