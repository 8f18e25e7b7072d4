// Instantiations of the upfirdn2d kernels that the compile gate measures: every factor, both
// layouts and every storage type at least once.
#include "cuda/upfirdn2d_kernel.cuh"

namespace fastgan::cuda::upfirdn2d {

#define FASTGAN_GENERAL(In, Out) \
  template __global__ void general<In, Out>(const In*, const float*, Out*, Params);
#define FASTGAN_TILED(T, kUp, kDown, kTaps, kChannelsLast)                         \
  template __global__ void tiled<T, TileFor<T, kUp, kDown, kTaps, kChannelsLast>>( \
      const T*, const float*, T*, Params, int64_t);
#define FASTGAN_SEPARABLE(T, kUp, kDown)                                                    \
  template __global__ void separable<T, Strip<kUp, kDown, 256>>(const T*, const float*, T*, \
                                                                Params, int64_t);

FASTGAN_GENERAL(float, float)
FASTGAN_TILED(float, 1, 1, 4, false)
FASTGAN_TILED(float, 2, 1, 4, false)
FASTGAN_TILED(__half, 2, 1, 8, false)
FASTGAN_TILED(__nv_bfloat16, 1, 2, 4, false)
FASTGAN_TILED(float, 1, 4, 8, false)
FASTGAN_TILED(__half, 2, 1, 4, true)
FASTGAN_SEPARABLE(float, 1, 1)
FASTGAN_SEPARABLE(__half, 2, 1)

#ifdef FASTGAN_GATE_ALL  // what continuous integration leaves to `make gpu-baseline`
FASTGAN_GENERAL(double, double)
FASTGAN_GENERAL(__half, float)
FASTGAN_GENERAL(float, __nv_bfloat16)
FASTGAN_TILED(float, 1, 1, 8, false)
FASTGAN_TILED(float, 1, 2, 8, false)
FASTGAN_TILED(__half, 4, 1, 8, false)
FASTGAN_TILED(double, 1, 4, 8, false)
FASTGAN_TILED(__nv_bfloat16, 1, 2, 8, true)
FASTGAN_TILED(double, 1, 1, 8, true)
FASTGAN_TILED(float, 1, 4, 8, true)
FASTGAN_SEPARABLE(double, 1, 2)
FASTGAN_SEPARABLE(float, 1, 4)
#endif

}  // namespace fastgan::cuda::upfirdn2d
