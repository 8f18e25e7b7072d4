// Instantiations of the spectral_norm kernels that the compile gate measures: alone and grouped,
// every storage type.
#include "cuda/spectral_norm_grad_kernel.cuh"
#include "cuda/spectral_norm_kernel.cuh"

namespace fastgan::cuda::spectral_norm {

#define FASTGAN_FORWARD(T, Layers)                                                         \
  template __global__ void transposed_product<T, Layers<Layer<T>>>(Layers<Layer<T>>, bool, \
                                                                   double);                \
  template __global__ void product<T, Layers<Layer<T>>>(Layers<Layer<T>>, double);         \
  template __global__ void scale<T, Layers<Layer<T>>>(Layers<Layer<T>>, bool, double);
#define FASTGAN_GRAD(T, Layers)                                                      \
  template __global__ void dot_parts<T, Layers<GradLayer<T>>>(Layers<GradLayer<T>>); \
  template __global__ void grad<T, Layers<GradLayer<T>>>(Layers<GradLayer<T>>);

FASTGAN_FORWARD(float, Many)
FASTGAN_FORWARD(__half, Many)
FASTGAN_GRAD(float, Many)
#ifdef FASTGAN_GATE_ALL  // what continuous integration leaves to `make gpu-baseline`
FASTGAN_FORWARD(float, One)
FASTGAN_FORWARD(double, Many)
FASTGAN_GRAD(double, One)
FASTGAN_GRAD(__nv_bfloat16, Many)
#endif

}  // namespace fastgan::cuda::spectral_norm
