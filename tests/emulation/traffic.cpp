// Launchers whose traffic is counted, behind plain C: those whose tilings the roofline models.
#include "traffic.h"

#include "cuda/bias_act_kernel.cuh"
#include "cuda/noise_bias_act_kernel.cuh"
#include "cuda/spectral_norm_kernel.cuh"
#include "cuda/upfirdn2d_kernel.cuh"

namespace {

using namespace fastgan::cuda;

struct Tensors {
  const void *source, *g, *bias;
  void *out, *grad_bias, *workspace;
};

template <typename T>
void run_bias_act(const Tensors& t, const BiasActShape& shape, int act) {
  const auto k = make_coefficients<float>(static_cast<Activation>(act), 0.2, 1.4, 256.0, false);
  const auto *source = static_cast<const T*>(t.source), *bias = static_cast<const T*>(t.bias);
  auto* out = static_cast<T*>(t.out);
  if (t.g == nullptr) return launch_bias_act<T>(source, bias, out, shape, k, nullptr);
  launch_bias_act_grad<T>(source, static_cast<const T*>(t.g), bias, out,
                          static_cast<T*>(t.grad_bias), static_cast<float*>(t.workspace), shape, k,
                          nullptr);
}

template <typename T, bool kChannelsLast>
void run_upfirdn2d(const upfirdn2d::Call& call, const T* x, const float* filter, T* y) {
  using namespace upfirdn2d;
  const Params p = params_of(call);
  if (call.up[0] == 2) {
    return launch_tiled<T, TileFor<T, 2, 1, 4, kChannelsLast>>(x, filter, y, p, kMaxGridY, nullptr);
  }
  if (call.down[0] == 2) {
    return launch_tiled<T, TileFor<T, 1, 2, 4, kChannelsLast>>(x, filter, y, p, kMaxGridY, nullptr);
  }
  launch_tiled<T, TileFor<T, 1, 1, 4, kChannelsLast>>(x, filter, y, p, kMaxGridY, nullptr);
}

}  // namespace

extern "C" {

int64_t traffic_bias_act_workspace(const BiasActShape* shape) { return bias_act_workspace(*shape); }

void traffic_bias_act(int half, const Tensors* tensors, const BiasActShape* shape, int act) {
  half ? run_bias_act<__half>(*tensors, *shape, act) : run_bias_act<float>(*tensors, *shape, act);
}

void traffic_noise_bias_act(int half, const noise_bias_act::Images* images, const void* x,
                            const float* noise, const void* bias, void* y) {
  const auto k = make_coefficients<float>(Activation::kLrelu, 0.2, 1.4, 256.0);
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    noise_bias_act::launch<T>(static_cast<const T*>(x), noise, static_cast<const T*>(bias),
                              static_cast<T*>(y), *images, k, nullptr);
  };
  half ? run(__half{}) : run(float{});
}

// Whether `choose` takes the tiled kernel, which is then run.
int traffic_upfirdn2d(const upfirdn2d::Call* call, const float* x, const float* filter, float* y) {
  if (upfirdn2d::choose<float>(*call) != upfirdn2d::Kernel::kTiled) return 0;
  call->channels_last ? run_upfirdn2d<float, true>(*call, x, filter, y)
                      : run_upfirdn2d<float, false>(*call, x, filter, y);
  return 1;
}

void traffic_spectral_norm(spectral_norm::Layer<float>* layer) {
  const auto blocks = spectral_norm::number_blocks(layer, 1);
  spectral_norm::launch<float>(spectral_norm::One<spectral_norm::Layer<float>>{*layer}, blocks, 1,
                               1e-12, nullptr);
}
}
