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

// Whether `choose` takes the tiled kernel, which is then run. Not every tile is compiled.
template <typename T, bool kChannelsLast>
bool run_upfirdn2d(const upfirdn2d::Call& call, const void* x, const float* filter, void* y) {
  using namespace upfirdn2d;
  if (choose<T>(call) != Kernel::kTiled) return false;
  const auto run = [&]<int kUp, int kDown, int kTaps>() {
    launch_tiled<T, TileFor<T, kUp, kDown, kTaps, kChannelsLast>>(
        static_cast<const T*>(x), filter, static_cast<T*>(y), params_of(call), kMaxGridY, nullptr);
  };
  const bool large = call.filter_width > 4;
  if (call.up[0] == 2) {
    large ? std::abort() : run.template operator()<2, 1, 4>();
  } else if (call.down[0] == 2) {
    large ? run.template operator()<1, 2, 8>() : run.template operator()<1, 2, 4>();
  } else {
    large ? run.template operator()<1, 1, 8>() : run.template operator()<1, 1, 4>();
  }
  return true;
}

template <typename T>
bool run_upfirdn2d(const upfirdn2d::Call& call, const void* x, const float* filter, void* y) {
  return call.channels_last ? run_upfirdn2d<T, true>(call, x, filter, y)
                            : run_upfirdn2d<T, false>(call, x, filter, y);
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

int traffic_upfirdn2d(int half, const upfirdn2d::Call* call, const void* x, const float* filter,
                      void* y) {
  return half ? run_upfirdn2d<__half>(*call, x, filter, y)
              : run_upfirdn2d<float>(*call, x, filter, y);
}

void traffic_spectral_norm(spectral_norm::Layer<float>* layer) {
  const auto blocks = spectral_norm::number_blocks(layer, 1);
  spectral_norm::launch<float>(spectral_norm::One<spectral_norm::Layer<float>>{*layer}, blocks, 1,
                               1e-12, nullptr);
}
}
