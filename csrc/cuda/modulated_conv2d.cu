// Instantiates the launchers of the modulated convolution, so that nvcc compiles every kernel.
#include "cuda/modulated_conv2d_kernel.cuh"

namespace fastgan::cuda::modulated_conv2d {

#define FASTGAN_INSTANTIATE(T) \
  template bool launch_modulated_conv2d<T>(const Call&, const Tensors<T>&, cudaStream_t);

FASTGAN_INSTANTIATE(float)
FASTGAN_INSTANTIATE(__half)
#ifdef FASTGAN_GATE_ALL  // what continuous integration leaves to `make gpu-baseline`
FASTGAN_INSTANTIATE(double)
FASTGAN_INSTANTIATE(__nv_bfloat16)
#endif

}  // namespace fastgan::cuda::modulated_conv2d
