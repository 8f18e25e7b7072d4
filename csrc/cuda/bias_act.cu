// Instantiates the launchers of bias_act, so that nvcc compiles every kernel of the op.
#include "cuda/bias_act_kernel.cuh"

namespace fastgan::cuda {

#define FASTGAN_INSTANTIATE(T)                                                               \
  template void launch_bias_act<T>(const T*, const T*, T*, const BiasActShape&,              \
                                   const Coefficients<acc_t<T>>&, cudaStream_t, int64_t);    \
  template void launch_bias_act_grad<T>(const T*, const T*, const T*, T*, T*, acc_t<T>*,     \
                                        const BiasActShape&, const Coefficients<acc_t<T>>&,  \
                                        cudaStream_t, int64_t);                              \
  template void launch_bias_act_grad2<T>(const T*, const T*, const T*, const T*, T*,         \
                                         const BiasActShape&, const Coefficients<acc_t<T>>&, \
                                         cudaStream_t, int64_t);

FASTGAN_INSTANTIATE(__half)
#ifdef FASTGAN_GATE_ALL  // what continuous integration leaves to `make gpu-baseline`
FASTGAN_INSTANTIATE(float)
FASTGAN_INSTANTIATE(double)
FASTGAN_INSTANTIATE(__nv_bfloat16)
#endif

}  // namespace fastgan::cuda
