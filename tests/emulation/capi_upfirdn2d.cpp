// upfirdn2d's launchers behind plain C, for tests that run the kernels on the CPU.
#include "cuda/upfirdn2d_kernel.cuh"

using fastgan::cuda::upfirdn2d::Call;
using fastgan::cuda::upfirdn2d::Kernel;

#define FASTGAN_API(suffix, T)                                                                   \
  extern "C" int choose_##suffix(const Call* call) {                                             \
    return static_cast<int>(fastgan::cuda::upfirdn2d::choose<T>(*call));                         \
  }                                                                                              \
  extern "C" int upfirdn2d_##suffix(const Call* call, int kernel, const void* x, const float* f, \
                                    void* y, void* workspace, int grid_y) {                      \
    return fastgan::cuda::upfirdn2d::launch<T>(                                                  \
        *call, static_cast<Kernel>(kernel), static_cast<const T*>(x), f, static_cast<T*>(y),     \
        static_cast<fastgan::acc_t<T>*>(workspace), nullptr, grid_y);                            \
  }

extern "C" long long workspace_numel(const Call* call, int kernel) {
  return fastgan::cuda::upfirdn2d::workspace_numel(*call, static_cast<Kernel>(kernel));
}

FASTGAN_API(float32, float)
FASTGAN_API(float64, double)
FASTGAN_API(float16, __half)
FASTGAN_API(bfloat16, __nv_bfloat16)
