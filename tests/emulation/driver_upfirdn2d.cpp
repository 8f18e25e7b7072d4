// Runs every kernel of upfirdn2d over ragged images in heap blocks of the exact size, for the
// sanitizers. Values are compared in test_upfirdn2d.py; here every result must only be written.
#include <cstdio>

#include "cuda/upfirdn2d_kernel.cuh"
#include "exact_buffer.h"

namespace {

using namespace fastgan::cuda;
using namespace fastgan::cuda::upfirdn2d;

Call make_call(int64_t channels, int64_t height, int64_t width, int64_t up, int64_t down,
               int64_t taps, bool separable, bool channels_last) {
  Call call{};
  call.batch = 2, call.channels = channels, call.height = height, call.width = width;
  const int64_t plane = height * width;
  const int64_t contiguous[4] = {channels * plane, plane, width, 1};
  const int64_t last[4] = {channels * plane, 1, width * channels, channels};
  for (int d = 0; d < 4; ++d) call.strides[d] = channels_last ? last[d] : contiguous[d];
  for (int d = 0; d < 2; ++d) call.up[d] = up, call.down[d] = down;
  for (int d = 0; d < 4; ++d) call.padding[d] = taps / 2 + d % 2;
  call.filter_height = call.filter_width = taps;
  call.separable = separable, call.channels_last = channels_last, call.gain = 1.5;
  return call;
}

template <typename T>
int64_t run(const Call& call, Kernel kernel, bool shifted) {
  const int64_t taps = call.filter_width * (call.separable ? 1 : call.filter_height);
  Buffer<T> x(call.batch * call.channels * call.height * call.width, shifted, 0.3f);
  Buffer<float> filter(taps, false, 0.1f);
  Buffer<T> y(call.out_numel(), shifted, NAN);
  Buffer<fastgan::acc_t<T>> workspace(workspace_numel(call, kernel), false, NAN);
  launch<T>(call, kernel, x.data(), filter.data(), y.data(), workspace.data(), nullptr, 2);
  return y.missing() + workspace.missing();
}

}  // namespace

int main() {
  int64_t missing = 0;
  int runs = 0;
  for (const bool last : {false, true}) {
    for (const auto [up, down] : {std::pair{1, 1}, {2, 1}, {1, 2}, {4, 1}, {1, 4}}) {
      const Call square = make_call(last ? 19 : 3, 5, 7, up, down, 4, false, last);
      const Call strip = make_call(last ? 19 : 1, 5, 7, up, down, 12, true, last);
      missing += run<float>(square, choose<float>(square), last);
      missing += run<__half>(strip, choose<__half>(strip), !last);
      runs += 2;
    }
    const Call mixed = make_call(3, 5, 6, 3, 2, 5, false, last);
    missing += run<double>(mixed, Kernel::kGeneral, true);
    ++runs;
  }
  // An aligned image, whose rows are written in packs.
  const Call packed = make_call(1, 8, 16, 2, 1, 8, false, false);
  missing += run<float>(packed, choose<float>(packed), false);
  // Channels read in packs, and tiles of several steps.
  const Call tall = make_call(16, 37, 3, 1, 2, 8, false, true);
  missing += run<__half>(tall, choose<__half>(tall), false);
  missing += run<float>(tall, choose<float>(tall), true);
  runs += 3;
  std::printf("%d runs, %lld elements not written\n", runs, static_cast<long long>(missing));
  return missing == 0 ? 0 : 1;
}
