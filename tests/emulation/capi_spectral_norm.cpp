// spectral_norm's launchers behind plain C, for tests that run the kernels on the CPU.
#include "cuda/spectral_norm_grad_kernel.cuh"
#include "cuda/spectral_norm_kernel.cuh"

using namespace fastgan::cuda::spectral_norm;

// A single layer travels in the arguments of the kernels, several in memory.
#define FASTGAN_API(suffix, T)                                                                   \
  extern "C" int spectral_norm_##suffix(Layer<T>* layers, int count, int grouped,                \
                                        int n_power_iterations, double eps) {                    \
    const FirstBlocks blocks = number_blocks(layers, count);                                     \
    if (grouped) {                                                                               \
      return launch<T>(Many<Layer<T>>{layers, count}, blocks, n_power_iterations, eps, nullptr); \
    }                                                                                            \
    return launch<T>(One<Layer<T>>{*layers}, blocks, n_power_iterations, eps, nullptr);          \
  }                                                                                              \
  extern "C" int spectral_norm_grad_##suffix(GradLayer<T>* layers, int count, int grouped) {     \
    const FirstBlocks blocks = number_blocks(layers, count);                                     \
    if (grouped) return launch_grad<T>(Many<GradLayer<T>>{layers, count}, blocks, nullptr);      \
    return launch_grad<T>(One<GradLayer<T>>{*layers}, blocks, nullptr);                          \
  }                                                                                              \
  extern "C" long long chunks_##suffix(long long numel) { return chunks_of<T>(numel); }

FASTGAN_API(float32, float)
FASTGAN_API(float64, double)
FASTGAN_API(float16, __half)
FASTGAN_API(bfloat16, __nv_bfloat16)
