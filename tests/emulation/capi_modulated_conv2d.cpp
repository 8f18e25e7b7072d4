// The modulated convolution's launcher behind plain C, for tests that run the kernels on the CPU.
#include "cuda/modulated_conv2d_kernel.cuh"

namespace {

using namespace fastgan::cuda::modulated_conv2d;

struct Pointers {
  const void *x, *weight, *in_scale, *out_scale, *noise, *bias;
  const float* filter;
  void* y;
};

template <typename T>
int run(const Call& call, const Pointers& p) {
  using A = fastgan::acc_t<T>;
  const auto wide = [](const void* pointer) { return static_cast<const A*>(pointer); };
  const Tensors<T> tensors{static_cast<const T*>(p.x),
                           static_cast<const T*>(p.weight),
                           wide(p.in_scale),
                           wide(p.out_scale),
                           wide(p.noise),
                           wide(p.bias),
                           p.filter,
                           static_cast<T*>(p.y)};
  return launch_modulated_conv2d<T>(call, tensors, nullptr);
}

}  // namespace

#define FASTGAN_API(suffix, T)                                                           \
  extern "C" int modulated_conv2d_##suffix(const Call* call, const Pointers* pointers) { \
    return run<T>(*call, *pointers);                                                     \
  }

FASTGAN_API(float32, float)
FASTGAN_API(float64, double)
FASTGAN_API(float16, __half)
FASTGAN_API(bfloat16, __nv_bfloat16)
