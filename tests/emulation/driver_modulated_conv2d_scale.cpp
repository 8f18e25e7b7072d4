// Runs the scaling kernels of modulated_conv2d over ragged shapes in heap blocks of the exact size,
// for the sanitizers. Values are compared in test_modulated_conv2d_scale.py; here every result must
// only be written.
#include <cstdio>
#include <cstdlib>

#include "cuda/modulated_conv2d_scale.cuh"
#include "exact_buffer.h"

namespace {

using namespace fastgan::cuda;
using namespace fastgan::cuda::modulated_scale;

constexpr int kFewThreads = 64;  // fibers cost ThreadSanitizer much: few of them
constexpr int64_t kMostBlocks = 2;
constexpr ScaleShape kShapes[] = {{1, 1, 1, false},    {2, 3, 35, false}, {1, 16, 64, false},
                                  {1, 20, 300, false}, {2, 3, 35, true},  {1, 16, 64, true},
                                  {1, 300, 20, true},  {0, 4, 4, true}};

template <typename T>
int64_t run(const ScaleShape& shape, bool shifted, bool noisy) {
  using A = fastgan::acc_t<T>;
  const int64_t numel = shape.numel(), planes = shape.samples * shape.channels;
  const int64_t pixels = noisy ? shape.samples * shape.pixels : 0;
  Buffer<T> x(numel, shifted, 0.3f), g(numel, shifted, 0.1f);
  Buffer<A> factors(planes, shifted, 0.2f), noise(pixels, shifted, 0.1f);
  Buffer<T> y(numel, shifted, NAN), grad_x(numel, shifted, NAN);
  Buffer<A> sums(numel == 0 ? 0 : planes, shifted, NAN), dn(numel == 0 ? 0 : pixels, shifted, NAN);
  launch_scale<T, kFewThreads>(x.data(), factors.data(), noisy ? noise.data() : nullptr, y.data(),
                               shape, nullptr, kMostBlocks);
  ScaleGrad<T> call{g.data(),      x.data(),    factors.data(),
                    grad_x.data(), sums.data(), noisy ? dn.data() : nullptr,
                    nullptr,       shape,       nullptr};
  Buffer<A> workspace(scale_grad_workspace<T, kFewThreads>(call), false, NAN);
  call.workspace = workspace.data();
  launch_scale_grad<T, kFewThreads>(call);
  return y.missing() + grad_x.missing() + sums.missing() + dn.missing() + workspace.missing();
}

}  // namespace

int main() {
  int64_t missing = 0;
  int runs = 0;
  for (const ScaleShape& shape : kShapes) {
    for (const bool noisy : {true, false}) {
      missing += run<float>(shape, false, noisy) + run<__half>(shape, false, noisy);
      runs += 2;
    }
    missing += run<float>(shape, true, true);
    ++runs;
  }
  std::printf("%d runs, %lld elements not written\n", runs, static_cast<long long>(missing));
  return missing == 0 ? 0 : 1;
}
