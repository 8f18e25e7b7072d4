// The modulated convolution's launcher with its traffic counted, behind plain C.
#include "traffic.h"

#include "cuda/modulated_conv2d_kernel.cuh"

namespace {

using namespace fastgan::cuda::modulated_conv2d;

struct Pointers {
  const void *x, *weight;
  const float *in_scale, *out_scale, *noise, *bias, *filter;
  void* y;
};

template <typename T>
int run(const Call& call, const Pointers& p) {
  const Tensors<T> tensors{static_cast<const T*>(p.x),
                           static_cast<const T*>(p.weight),
                           p.in_scale,
                           p.out_scale,
                           p.noise,
                           p.bias,
                           p.filter,
                           static_cast<T*>(p.y)};
  return launch_modulated_conv2d<T>(call, tensors, nullptr);
}

}  // namespace

extern "C" int traffic_modulated_conv2d(int half, const Call* call, const Pointers* pointers) {
  return half ? run<__half>(*call, *pointers) : run<float>(*call, *pointers);
}
