// normalize_act as torch operators on CUDA tensors: checks, layouts, registration.
#include "cuda/normalize_act_grad_kernel.cuh"
#include "cuda_ops/activation.h"
#include "cuda_ops/launch.h"

namespace fastgan::cuda::normalize_act {
namespace {

// One call, checked: what forward and gradient share.
class Normalization {
 public:
  Normalization(const char* op, const Tensor& x_in, const std::optional<Tensor>& weight,
                const std::optional<Tensor>& bias, const std::string& stats)
      : call(op, x_in),
        x(torch::stable::contiguous(x_in)),
        weight_(contiguous(weight)),
        bias_(contiguous(bias)) {
    STD_TORCH_CHECK(x.dim() == 4, op, ": x must have 4 dimensions, got ", x.dim());
    STD_TORCH_CHECK(stats == "instance" || stats == "batch" || stats == "layer", op,
                    ": stats must be instance, batch or layer, got ", stats);
    shape = {x.size(0), x.size(1), x.size(2) * x.size(3),
             stats == "instance" ? Statistics::kInstance
             : stats == "batch"  ? Statistics::kBatch
                                 : Statistics::kLayer};
    check_parameter("weight", weight_);
    check_parameter("bias", bias_);
  }

  template <typename A>
  Parameters<A> parameters() const {
    return {data_or_null<A>(weight_), data_or_null<A>(bias_), of_row(weight_), of_row(bias_)};
  }

  const DeviceCall call;
  const Tensor x;
  Shape shape;

 private:
  static bool of_row(const std::optional<Tensor>& parameter) {
    return parameter && parameter->dim() == 2;
  }
  void check_parameter(const char* name, const std::optional<Tensor>& parameter) const {
    if (!parameter) return;
    call.check_numel(name, *parameter, compute_type(x),
                     of_row(parameter) ? shape.rows() : shape.channels);
  }

  std::optional<Tensor> weight_, bias_;
};

std::tuple<Tensor, Tensor, Tensor> forward_images(
    const Tensor& x_in, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias,
    const std::optional<Tensor>& mean_in, const std::optional<Tensor>& var_in,
    const std::string& stats, double eps, const std::string& act, double alpha, double gain,
    double clamp) {
  const Normalization n("normalize_act", x_in, weight, bias, stats);
  const bool running = mean_in && var_in;
  const int64_t found = running ? 0 : n.shape.groups();
  const ScalarType type = compute_type(n.x);
  if (running) {
    n.call.check_numel("mean", *mean_in, type, n.shape.groups());
    n.call.check_numel("var", *var_in, type, n.shape.groups());
  }
  Tensor y = result_like(n.x);
  // Zero, not uninitialised: no kernel runs for an empty x.
  Tensor mean = torch::stable::new_zeros(n.x, {found}, type);
  Tensor var = torch::stable::new_zeros(n.x, {found}, type);
  const Tensor given_mean = running ? torch::stable::contiguous(*mean_in) : mean;
  const Tensor given_var = running ? torch::stable::contiguous(*var_in) : var;
  const Activation activation = parse_activation("normalize_act", act);
  dispatch_storage("normalize_act", n.x.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    // Running statistics are only read.
    launch<T>(data<T>(n.x), n.parameters<A>(), const_cast<A*>(data<A>(given_mean)),
              const_cast<A*>(data<A>(given_var)), running, mutable_data<T>(y), n.shape, eps,
              make_coefficients<A>(activation, alpha, gain, clamp), n.call.stream());
  });
  n.call.check_launches();
  return {in_layout_of(y, torch::stable::empty_like(x_in)), mean, var};
}

std::tuple<Tensor, Tensor, Tensor> grad_images(const Tensor& grad_y_in, const Tensor& x_in,
                                               const std::optional<Tensor>& weight,
                                               const std::optional<Tensor>& bias,
                                               const Tensor& mean_in, const Tensor& var_in,
                                               bool running, const std::string& stats, double eps,
                                               const std::string& act, double alpha, double gain,
                                               double clamp) {
  const Normalization n("normalize_act_grad", x_in, weight, bias, stats);
  const ScalarType type = compute_type(n.x);
  n.call.check_like("grad_y", grad_y_in, x_in);
  n.call.check_numel("mean", mean_in, type, n.shape.groups());
  n.call.check_numel("var", var_in, type, n.shape.groups());
  Tensor grad_x = result_like(n.x);
  Tensor to_weight = torch::stable::new_zeros(n.x, {n.shape.samples, n.shape.channels}, type);
  Tensor to_bias = torch::stable::new_zeros(n.x, {n.shape.samples, n.shape.channels}, type);
  const Tensor grad_y = torch::stable::contiguous(grad_y_in);
  const Tensor mean = torch::stable::contiguous(mean_in), var = torch::stable::contiguous(var_in);
  const Activation activation = parse_activation("normalize_act_grad", act);
  dispatch_storage("normalize_act_grad", n.x.scalar_type(), [&](auto tag) {
    using T = decltype(tag);
    using A = acc_t<T>;
    launch_grad<T>(data<T>(grad_y), data<T>(n.x), n.parameters<A>(), data<A>(mean), data<A>(var),
                   running, mutable_data<T>(grad_x), mutable_data<A>(to_weight),
                   mutable_data<A>(to_bias), n.shape, eps,
                   make_coefficients<A>(activation, alpha, gain, clamp), n.call.stream());
  });
  n.call.check_launches();
  return {in_layout_of(grad_x, torch::stable::empty_like(x_in)), to_weight, to_bias};
}

}  // namespace
}  // namespace fastgan::cuda::normalize_act

STABLE_TORCH_LIBRARY_FRAGMENT(fastgan_cuda, m) {
  m.def(
      "normalize_act(Tensor x, Tensor? weight, Tensor? bias, Tensor? mean, Tensor? var, str stats, "
      "float eps, str act, float alpha, float gain, float clamp) -> (Tensor, Tensor, Tensor)");
  m.def(
      "normalize_act_grad(Tensor grad_y, Tensor x, Tensor? weight, Tensor? bias, Tensor mean, "
      "Tensor var, bool running, str stats, float eps, str act, float alpha, float gain, "
      "float clamp) -> (Tensor, Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cuda, CUDA, m) {
  m.impl("normalize_act", TORCH_BOX(&fastgan::cuda::normalize_act::forward_images));
  m.impl("normalize_act_grad", TORCH_BOX(&fastgan::cuda::normalize_act::grad_images));
}
