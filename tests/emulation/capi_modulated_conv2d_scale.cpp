// The scaling launchers of modulated_conv2d behind plain C, for tests that run the kernels on the
// CPU.
#include "cuda/modulated_conv2d_scale.cuh"

using namespace fastgan::cuda::modulated_scale;

// Pointers of one call; grad_noise null: not wanted.
struct GradPointers {
  const void *g, *x, *factors;
  void *grad_x, *grad_scale, *grad_noise, *workspace;
};

template <typename T>
ScaleGrad<T> grad_of(const GradPointers& p, const ScaleShape& shape) {
  using A = fastgan::acc_t<T>;
  return {static_cast<const T*>(p.g),
          static_cast<const T*>(p.x),
          static_cast<const A*>(p.factors),
          static_cast<T*>(p.grad_x),
          static_cast<A*>(p.grad_scale),
          static_cast<A*>(p.grad_noise),
          static_cast<A*>(p.workspace),
          shape,
          nullptr};
}

#define FASTGAN_API(suffix, T)                                                                   \
  extern "C" void scale_##suffix(const void* x, const void* factors, const void* noise, void* y, \
                                 const ScaleShape* shape, long long max_blocks) {                \
    using A = fastgan::acc_t<T>;                                                                 \
    launch_scale<T>(static_cast<const T*>(x), static_cast<const A*>(factors),                    \
                    static_cast<const A*>(noise), static_cast<T*>(y), *shape, nullptr,           \
                    max_blocks);                                                                 \
  }                                                                                              \
  extern "C" long long grad_workspace_##suffix(const GradPointers* p, const ScaleShape* shape) { \
    return scale_grad_workspace(grad_of<T>(*p, *shape));                                         \
  }                                                                                              \
  extern "C" void scale_grad_##suffix(const GradPointers* p, const ScaleShape* shape) {          \
    launch_scale_grad(grad_of<T>(*p, *shape));                                                   \
  }

FASTGAN_API(float32, float)
FASTGAN_API(float64, double)
FASTGAN_API(float16, __half)
FASTGAN_API(bfloat16, __nv_bfloat16)
