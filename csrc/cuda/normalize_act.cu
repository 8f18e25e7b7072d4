// Instantiates the launchers of normalize_act, so that nvcc compiles its kernels for every type.
#include "cuda/normalize_act_grad_kernel.cuh"

namespace fastgan::cuda::normalize_act {

#define FASTGAN_INSTANTIATE(T)                                                                  \
  template int launch<T>(const T*, const Parameters<acc_t<T>>&, acc_t<T>*, acc_t<T>*, bool, T*, \
                         const Shape&, double, const Coefficients<acc_t<T>>&, cudaStream_t,     \
                         int64_t);                                                              \
  template int launch_grad<T>(const T*, const T*, const Parameters<acc_t<T>>&, const acc_t<T>*, \
                              const acc_t<T>*, bool, T*, acc_t<T>*, acc_t<T>*, const Shape&,    \
                              double, const Coefficients<acc_t<T>>&, cudaStream_t);

FASTGAN_INSTANTIATE(__half)
#ifdef FASTGAN_GATE_ALL  // what continuous integration leaves to `make gpu-baseline`
FASTGAN_INSTANTIATE(float)
FASTGAN_INSTANTIATE(double)
FASTGAN_INSTANTIATE(__nv_bfloat16)
#endif

}  // namespace fastgan::cuda::normalize_act
