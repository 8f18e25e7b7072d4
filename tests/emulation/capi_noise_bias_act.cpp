// noise_bias_act's launcher behind plain C, for tests that run the kernel on the CPU.
#include "cuda/noise_bias_act_kernel.cuh"

using namespace fastgan::cuda;
using noise_bias_act::Images;

struct Options {
  int act;
  double alpha, gain, clamp;
  int64_t max_blocks;
};

#define FASTGAN_API(suffix, T)                                                                     \
  extern "C" int noise_bias_act_##suffix(const Images* images, const Options* o, const T* x,       \
                                         const fastgan::acc_t<T>* noise, const T* bias, T* y) {    \
    const auto k = make_coefficients<fastgan::acc_t<T>>(static_cast<Activation>(o->act), o->alpha, \
                                                        o->gain, o->clamp);                        \
    return noise_bias_act::launch<T>(x, noise, bias, y, *images, k, nullptr, o->max_blocks);       \
  }

FASTGAN_API(float32, float)
FASTGAN_API(float64, double)
FASTGAN_API(float16, __half)
FASTGAN_API(bfloat16, __nv_bfloat16)
