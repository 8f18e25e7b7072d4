// Runs the kernels of noise_bias_act, minibatch_std and normalize_act over ragged shapes in heap
// blocks of the exact size, for the sanitizers. Values are compared in the tests of each op; here
// every result must only be written. One type, as each takes seconds to compile.
#include <cstdio>

#include "cuda/minibatch_std_kernel.cuh"
#include "cuda/noise_bias_act_kernel.cuh"
#include "cuda/normalize_act_grad_kernel.cuh"
#include "exact_buffer.h"

namespace {

using namespace fastgan::cuda;

constexpr int kThreads = 64, kMostBlocks = 2;  // fibers cost ThreadSanitizer much: few of them

struct Size {
  int64_t samples, channels, pixels;
};
constexpr Size kSizes[] = {{4, 3, 35}, {2, 4, 16}, {0, 4, 4}};

template <typename T>
int64_t noise_bias(const Size& size, bool shifted, bool channels_last) {
  using A = fastgan::acc_t<T>;
  const noise_bias_act::Images images{size.samples, size.channels, size.pixels, channels_last,
                                      shifted};
  Buffer<T> x(images.numel(), shifted, 0.3f), y(images.numel(), shifted, NAN);
  Buffer<A> noise(shifted ? size.pixels : size.samples * size.pixels, shifted, 0.1f);
  Buffer<T> bias(size.channels, shifted, 0.2f);
  const auto k = make_coefficients<A>(Activation::kLrelu, 0.2, 1.4, 1.0);
  noise_bias_act::launch<T, kThreads>(x.data(), noise.data(), bias.data(), y.data(), images, k,
                                      nullptr, kMostBlocks);
  return y.missing();
}

template <typename T>
int64_t deviations(const Size& size, bool shifted, bool channels_last) {
  using A = fastgan::acc_t<T>;
  const int64_t members = size.samples % 2 == 0 ? 2 : 1, slices = size.channels % 2 == 0 ? 2 : 1;
  const minibatch_std::Shape s{size.samples / members, members, size.channels, size.pixels, slices,
                               channels_last};
  const int64_t narrow = size.samples * s.sample(), wide = size.samples * s.widened();
  Buffer<T> x(narrow, shifted, 0.3f), y(wide, shifted, NAN), g(wide, shifted, 0.1f);
  Buffer<T> dx(narrow, shifted, NAN);
  Buffer<A> parts(minibatch_std::workspace(s), shifted, NAN);
  Buffer<A> sums(minibatch_std::grad_workspace(s), shifted, NAN);
  minibatch_std::launch<T, kThreads>(x.data(), y.data(), parts.data(), s, nullptr, kMostBlocks);
  minibatch_std::launch_grad<T, kThreads>(g.data(), x.data(), dx.data(), sums.data(), s, nullptr,
                                          kMostBlocks);
  return y.missing() + dx.missing() + parts.missing() + sums.missing();
}

template <typename T>
int64_t normalized(const Size& size, bool shifted, normalize_act::Statistics stats) {
  using A = fastgan::acc_t<T>;
  const normalize_act::Shape s{size.samples, size.channels, size.pixels, stats};
  const int64_t numel = s.numel(), groups = numel == 0 ? 0 : s.groups();
  Buffer<T> x(numel, shifted, 0.3f), y(numel, shifted, NAN), g(numel, shifted, 0.1f);
  Buffer<T> dx(numel, shifted, NAN);
  Buffer<A> weight(s.rows(), shifted, 0.2f), bias(size.channels, shifted, 0.1f);
  Buffer<A> mean(groups, shifted, NAN), var(groups, shifted, NAN);
  Buffer<A> dw(s.numel() == 0 ? 0 : s.rows(), shifted, NAN);
  Buffer<A> db(s.numel() == 0 ? 0 : s.rows(), shifted, NAN);
  const normalize_act::Parameters<A> p{weight.data(), bias.data(), true, false};
  const auto k = make_coefficients<A>(Activation::kSwish, 0.2, 1.4, 1.0);
  normalize_act::launch<T, kThreads>(x.data(), p, mean.data(), var.data(), false, y.data(), s, 1e-3,
                                     k, nullptr, kMostBlocks);
  normalize_act::launch_grad<T, kThreads>(g.data(), x.data(), p, mean.data(), var.data(), false,
                                          dx.data(), dw.data(), db.data(), s, 1e-3, k, nullptr);
  return y.missing() + dx.missing() + mean.missing() + var.missing() + dw.missing() + db.missing();
}

template <typename T>
int64_t run(const Size& size, bool shifted) {
  using normalize_act::Statistics;
  int64_t missing = 0;
  missing += noise_bias<T>(size, shifted, shifted) + deviations<T>(size, shifted, shifted);
  for (const auto stats : {Statistics::kInstance, Statistics::kBatch, Statistics::kLayer}) {
    missing += normalized<T>(size, shifted, stats);
  }
  return missing;
}

}  // namespace

int main() {
  int64_t missing = 0;
  int runs = 0;
  for (const Size& size : kSizes) {
    missing += run<__half>(size, false) + run<__half>(size, true);
    runs += 2;
  }
  std::printf("%d runs, %lld elements not written\n", runs, static_cast<long long>(missing));
  return missing == 0 ? 0 : 1;
}
