// minibatch_std as torch operators on CUDA tensors: checks, layouts, workspace, registration.
#include "cuda/minibatch_std_kernel.cuh"
#include "cuda_ops/launch.h"

namespace fastgan::cuda::minibatch_std {
namespace {

Shape shape_of(const Tensor& x, int64_t group_size, int64_t num_channels) {
  STD_TORCH_CHECK(group_size > 0 && x.size(0) % group_size == 0,
                  "minibatch_std: group_size must divide the batch of ", x.size(0), ", got ",
                  group_size);
  STD_TORCH_CHECK(num_channels > 0 && x.size(1) % num_channels == 0,
                  "minibatch_std: num_channels must divide the ", x.size(1), " channels, got ",
                  num_channels);
  return {x.size(0) / group_size, group_size,   x.size(1),
          x.size(2) * x.size(3),  num_channels, is_channels_last(x)};
}

Tensor forward_images(const Tensor& x_in, int64_t group_size, int64_t num_channels) {
  const DeviceCall call("minibatch_std", x_in);
  const Tensor x = image("minibatch_std", x_in);
  const Shape shape = shape_of(x, group_size, num_channels);
  Tensor y = empty_images(x, x.size(1) + num_channels, x.size(2), x.size(3), shape.channels_last);
  const Tensor parts = workspace_of(x, x.numel() == 0 ? 0 : workspace(shape));
  dispatch_storage("minibatch_std", x.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    launch<T>(data<T>(x), mutable_data<T>(y), mutable_data<acc_t<T>>(parts), shape, call.stream());
  });
  call.check_launches();
  return y;
}

Tensor grad_images(const Tensor& grad_y_in, const Tensor& x_in, int64_t group_size,
                   int64_t num_channels) {
  const DeviceCall call("minibatch_std_grad", x_in);
  const Tensor x = image("minibatch_std_grad", x_in);
  const Shape shape = shape_of(x, group_size, num_channels);
  const Tensor like =
      empty_images(x, x.size(1) + num_channels, x.size(2), x.size(3), shape.channels_last);
  call.check_like("grad_y", grad_y_in, like);
  const Tensor grad_y = in_layout_of(grad_y_in, like);
  Tensor grad_x = result_like(x);
  const Tensor sums = workspace_of(x, x.numel() == 0 ? 0 : grad_workspace(shape));
  dispatch_storage("minibatch_std_grad", x.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    launch_grad<T>(data<T>(grad_y), data<T>(x), mutable_data<T>(grad_x),
                   mutable_data<acc_t<T>>(sums), shape, call.stream());
  });
  call.check_launches();
  return grad_x;
}

}  // namespace
}  // namespace fastgan::cuda::minibatch_std

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cuda, m) {
  m.def("minibatch_std(Tensor x, int group_size, int num_channels) -> Tensor");
  m.def("minibatch_std_grad(Tensor grad_y, Tensor x, int group_size, int num_channels) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cuda, CUDA, m) {
  m.impl("minibatch_std", TORCH_BOX(&fastgan::cuda::minibatch_std::forward_images));
  m.impl("minibatch_std_grad", TORCH_BOX(&fastgan::cuda::minibatch_std::grad_images));
}
