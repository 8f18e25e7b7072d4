// normalize_act's launchers behind plain C, for tests that run the kernels on the CPU.
#include "cuda/normalize_act_grad_kernel.cuh"

using namespace fastgan::cuda;
using normalize_act::Parameters;
using normalize_act::Shape;

struct Call {
  const void *grad_y, *x, *weight, *bias;
  void *mean, *var, *out, *to_weight, *to_bias;
  Shape shape;
  bool weight_of_row, bias_of_row, running;
  int act;
  double eps, alpha, gain, clamp;
  int64_t max_blocks;
};

template <typename T>
int run(const Call& c) {
  using A = fastgan::acc_t<T>;
  const auto k = make_coefficients<A>(static_cast<Activation>(c.act), c.alpha, c.gain, c.clamp);
  const Parameters<A> p{static_cast<const A*>(c.weight), static_cast<const A*>(c.bias),
                        c.weight_of_row, c.bias_of_row};
  const auto* x = static_cast<const T*>(c.x);
  auto *mean = static_cast<A*>(c.mean), *var = static_cast<A*>(c.var);
  auto* out = static_cast<T*>(c.out);
  if (c.grad_y == nullptr) {
    return normalize_act::launch<T>(x, p, mean, var, c.running, out, c.shape, c.eps, k, nullptr,
                                    c.max_blocks);
  }
  return normalize_act::launch_grad<T>(static_cast<const T*>(c.grad_y), x, p, mean, var, c.running,
                                       out, static_cast<A*>(c.to_weight),
                                       static_cast<A*>(c.to_bias), c.shape, c.eps, k, nullptr);
}

extern "C" int emulated_normalize_act(int dtype, const Call* call) {
  if (dtype == 0) return run<float>(*call);
  if (dtype == 1) return run<double>(*call);
  if (dtype == 2) return run<__half>(*call);
  return run<__nv_bfloat16>(*call);
}
