// The launchers of bias_act as C functions, on the CPU. Types travel as numbers: 0 float, 1 double,
// 2 half, 3 bfloat16.
#include "cuda/bias_act_kernel.cuh"

namespace {

using namespace fastgan::cuda;

struct Call {
  int order;  // 0 forward, 1 gradient, 2 second gradient
  const void *source, *g, *h, *bias;
  void *out, *grad_bias, *workspace;
  BiasActShape shape;
  int act;
  double alpha, gain, clamp;
  bool from_output;
  int64_t max_blocks;
};

template <typename T>
void run(const Call& c) {
  using A = fastgan::acc_t<T>;
  const auto k =
      make_coefficients<A>(static_cast<Activation>(c.act), c.alpha, c.gain, c.clamp, c.from_output);
  const auto* source = static_cast<const T*>(c.source);
  const auto* g = static_cast<const T*>(c.g);
  const auto* bias = static_cast<const T*>(c.bias);
  auto* out = static_cast<T*>(c.out);
  if (c.order == 0) {
    launch_bias_act(source, bias, out, c.shape, k, nullptr, c.max_blocks);
  } else if (c.order == 1) {
    launch_bias_act_grad(source, g, bias, out, static_cast<T*>(c.grad_bias),
                         static_cast<A*>(c.workspace), c.shape, k, nullptr, c.max_blocks);
  } else {
    launch_bias_act_grad2(source, g, static_cast<const T*>(c.h), bias, out, c.shape, k, nullptr,
                          c.max_blocks);
  }
}

}  // namespace

extern "C" {

void emulated_bias_act(int dtype, const Call* call) {
  if (dtype == 0) run<float>(*call);
  if (dtype == 1) run<double>(*call);
  if (dtype == 2) run<__half>(*call);
  if (dtype == 3) run<__nv_bfloat16>(*call);
}

int64_t emulated_bias_act_workspace(const BiasActShape* shape) {
  return bias_act_workspace(*shape);
}

int64_t emulated_divide(int64_t a, int64_t b) { return divide(a, b); }
}
