// minibatch_std's launchers behind plain C, for tests that run the kernels on the CPU.
#include "cuda/minibatch_std_kernel.cuh"

using namespace fastgan::cuda::minibatch_std;

#define FASTGAN_API(suffix, T)                                                                   \
  extern "C" int minibatch_std_##suffix(const Shape* s, const T* x, T* y, void* parts,           \
                                        long long max_blocks) {                                  \
    return launch<T>(x, y, static_cast<fastgan::acc_t<T>*>(parts), *s, nullptr, max_blocks);     \
  }                                                                                              \
  extern "C" int minibatch_std_grad_##suffix(const Shape* s, const T* grad_y, const T* x,        \
                                             T* grad_x, void* sums, long long max_blocks) {      \
    return launch_grad<T>(grad_y, x, grad_x, static_cast<fastgan::acc_t<T>*>(sums), *s, nullptr, \
                          max_blocks);                                                           \
  }

FASTGAN_API(float32, float)
FASTGAN_API(float64, double)
FASTGAN_API(float16, __half)
FASTGAN_API(bfloat16, __nv_bfloat16)

extern "C" long long minibatch_std_workspace(const Shape* s) { return workspace(*s); }
extern "C" long long minibatch_std_grad_workspace(const Shape* s) { return grad_workspace(*s); }
