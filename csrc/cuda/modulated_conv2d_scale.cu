// Instantiations of the scaling kernels that the compile gate measures: both layouts, packed and
// not, every storage type.
#include "cuda/modulated_conv2d_scale.cuh"

namespace fastgan::cuda::modulated_scale {

#define FASTGAN_SCALE(T, kPack, kLast)                                                        \
  template __global__ void scale<T, kPack, kLast, kThreads>(const T*, const acc_t<T>*,        \
                                                            const acc_t<T>*, T*, ScaleShape); \
  template __global__ void scale_grad<T, kPack, kLast, kThreads>(                             \
      const T*, const T*, const acc_t<T>*, T*, acc_t<T>*, acc_t<T>*, ScaleShape, Tiling);

FASTGAN_SCALE(float, 4, false)
FASTGAN_SCALE(__half, 8, false)
template __global__ void sum_tiles<float, kThreads>(const float*, float*, int64_t, int64_t);

#ifdef FASTGAN_GATE_ALL  // what continuous integration leaves to `make gpu-baseline`
FASTGAN_SCALE(float, 4, true)
FASTGAN_SCALE(float, 1, false)
FASTGAN_SCALE(__half, 8, true)
FASTGAN_SCALE(__nv_bfloat16, 1, true)
FASTGAN_SCALE(double, 2, false)
FASTGAN_SCALE(double, 2, true)
template __global__ void sum_tiles<double, kThreads>(const double*, double*, int64_t, int64_t);
#endif

}  // namespace fastgan::cuda::modulated_scale
