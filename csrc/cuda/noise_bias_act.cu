// Instantiates the launcher of noise_bias_act, so that nvcc compiles its kernel for every type.
#include "cuda/noise_bias_act_kernel.cuh"

namespace fastgan::cuda::noise_bias_act {

#define FASTGAN_INSTANTIATE(T)                                                   \
  template int launch<T>(const T*, const acc_t<T>*, const T*, T*, const Images&, \
                         const Coefficients<acc_t<T>>&, cudaStream_t, int64_t);

FASTGAN_INSTANTIATE(__half)
#ifdef FASTGAN_GATE_ALL  // what continuous integration leaves to `make gpu-baseline`
FASTGAN_INSTANTIATE(float)
FASTGAN_INSTANTIATE(double)
FASTGAN_INSTANTIATE(__nv_bfloat16)
#endif

}  // namespace fastgan::cuda::noise_bias_act
