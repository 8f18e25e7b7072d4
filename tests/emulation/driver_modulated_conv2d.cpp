// The launcher of the modulated convolution with small blocks, on heap blocks of the exact size,
// for the sanitizers. Values are compared in test_modulated_conv2d.py; here every result must only
// be written.
#include <cmath>
#include <cstdio>

#include "cuda/modulated_conv2d_kernel.cuh"
#include "exact_buffer.h"

namespace {

using namespace fastgan::cuda;
using namespace fastgan::cuda::modulated_conv2d;

// Fibers cost ThreadSanitizer much: 32 or 64 threads a block.
struct Small {
  template <typename T, int kReach>
  using Simt = SimtShape<T, kReach, 4, 4>;
  template <typename T, int kReach>
  using Wmma = WmmaShape<T, kReach, 2, 2>;
  template <typename T>
  using UpSimt = UpSimtShape<T, 2, 4>;
  template <typename T>
  using UpWmma = UpWmmaShape<T, 1, 4>;
  template <typename T>
  using Rgb = RgbShape<T, 32>;
};

template <typename T>
int64_t run(const Call& call) {
  using A = fastgan::acc_t<T>;
  const int64_t pixels = call.out_height() * call.out_width();
  const int64_t taps = call.kernel_height * call.kernel_width;
  Buffer<T> x(call.batch * call.in_channels * call.height * call.width, 0.3f);
  Buffer<T> weight(call.out_channels * call.in_channels * taps, 0.1f);
  Buffer<A> in_scale(call.batch * call.in_channels, 0.2f), bias(call.out_channels, 0.1f);
  Buffer<A> out_scale(call.batch * call.out_channels, 0.2f), noise(call.batch * pixels, 0.1f);
  Buffer<float> filter(4, 0.1f);
  Buffer<T> y(call.out_numel(), NAN);
  const Tensors<T> tensors{x.data(),     weight.data(), in_scale.data(), out_scale.data(),
                           noise.data(), bias.data(),   filter.data(),   y.data()};
  if (!launch_modulated_conv2d<T, Small>(call, tensors, nullptr)) return call.out_numel();
  return y.missing();
}

// Two steps of channels in every kernel, and a tile that both ends of an axis cut.
Call call_of(int64_t out_channels, int64_t size, int64_t up, bool channels_last) {
  Call call{1, 18, out_channels, 5, 17, size, size, up, {0, 0, 0, 0}, 0, 0, 1, 9};
  call.act = static_cast<int>(Activation::kLrelu);
  if (size > 1) call.padding[0] = call.padding[1] = call.padding[2] = call.padding[3] = 1;
  if (up > 1) call.width = 9;
  call.x_channels_last = call.y_channels_last = channels_last;
  call.noise_per_sample = true;
  return call;
}

}  // namespace

int main() {
  int64_t missing = 0;
  int runs = 0;
  for (const bool last : {false, true}) {
    const Call calls[] = {call_of(33, 3, 1, last), call_of(9, 1, 1, last), call_of(3, 1, 1, last),
                          call_of(17, 3, 2, last)};
    for (Call call : calls) {
      missing += run<float>(call) + run<__half>(call);
      call.allow_tf32 = true;
      missing += run<float>(call);
      runs += 3;
    }
  }
  missing += run<double>(call_of(9, 3, 1, false)) + run<double>(call_of(9, 3, 2, true));
  std::printf("%d runs, %lld elements not written\n", runs + 2, static_cast<long long>(missing));
  return missing == 0 ? 0 : 1;
}
