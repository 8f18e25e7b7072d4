// Instantiates the launchers of minibatch_std, so that nvcc compiles its kernels for every type.
#include "cuda/minibatch_std_kernel.cuh"

namespace fastgan::cuda::minibatch_std {

#define FASTGAN_INSTANTIATE(T)                                                               \
  template int launch<T>(const T*, T*, acc_t<T>*, const Shape&, cudaStream_t, int64_t);      \
  template int launch_grad<T>(const T*, const T*, T*, acc_t<T>*, const Shape&, cudaStream_t, \
                              int64_t);

FASTGAN_INSTANTIATE(__half)
#ifdef FASTGAN_GATE_ALL  // what continuous integration leaves to `make gpu-baseline`
FASTGAN_INSTANTIATE(float)
FASTGAN_INSTANTIATE(double)
FASTGAN_INSTANTIATE(__nv_bfloat16)
#endif

}  // namespace fastgan::cuda::minibatch_std
