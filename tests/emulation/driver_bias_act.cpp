// Runs every kernel of bias_act over ragged shapes in heap blocks of the exact size, for the
// sanitizers. Values are compared in test_bias_act.py; here every result must only be written.
#include <cstdio>

#include "cuda/bias_act_kernel.cuh"
#include "exact_buffer.h"

namespace {

using namespace fastgan::cuda;

constexpr int kThreads = 64, kMostBlocks = 2;  // fibers cost ThreadSanitizer much: few of them
constexpr Activation kActs[] = {Activation::kLrelu, Activation::kSelu, Activation::kSwish};
constexpr BiasActShape kShapes[] = {{1, 1, 1},   {2, 3, 35}, {1, 16, 64},  {70, 5, 1},  {33, 16, 1},
                                    {9, 140, 1}, {0, 4, 4},  {2, 2, 4104}, {1, 2, 8193}};

template <typename T>
int64_t run(const BiasActShape& shape, Activation act, bool shifted) {
  using A = fastgan::acc_t<T>;
  const int64_t numel = shape.numel();
  Buffer<T> x(numel, shifted, 0.3f), g(numel, shifted, 0.1f), h(numel, shifted, 0.2f);
  Buffer<T> bias(shape.channels, shifted, 0.1f);
  Buffer<T> y(numel, shifted, NAN), dx(numel, shifted, NAN), d2(numel, shifted, NAN);
  Buffer<T> sums(numel == 0 ? 0 : shape.channels, shifted, NAN);
  Buffer<A> workspace(bias_act_workspace(shape), false, NAN);
  const auto k = make_coefficients<A>(act, 0.2, 1.4, 1.0);
  launch_bias_act<T, kThreads>(x.data(), bias.data(), y.data(), shape, k, nullptr, kMostBlocks);
  launch_bias_act_grad<T, kThreads>(x.data(), g.data(), bias.data(), dx.data(), sums.data(),
                                    workspace.data(), shape, k, nullptr);
  launch_bias_act_grad2<T, kThreads>(x.data(), g.data(), h.data(), bias.data(), d2.data(), shape, k,
                                     nullptr, kMostBlocks);
  return y.missing() + dx.missing() + d2.missing() + sums.missing() + workspace.missing();
}

}  // namespace

int main() {
  int64_t missing = 0;
  int runs = 0;
  for (const BiasActShape& shape : kShapes) {
    const bool first =
        shape.numel() == 1;  // activations differ in arithmetic alone: once is enough
    for (const Activation act : kActs) {
      if (!first && act != Activation::kLrelu) continue;
      for (const bool shifted : {false, true}) {
        missing += run<float>(shape, act, shifted);
        ++runs;
      }
      missing += run<__half>(shape, act, false);
      ++runs;
    }
  }
  std::printf("%d runs, %lld elements not written\n", runs, static_cast<long long>(missing));
  return missing == 0 ? 0 : 1;
}
