// upfirdn2d for any factors, padding, filter and layout: one thread for one output.
#pragma once

#include "cuda/storage.cuh"
#include "cuda/upfirdn2d_params.h"

namespace fastgan::cuda::upfirdn2d {

constexpr int kGeneralThreads = 256;
constexpr int64_t kGeneralBlocks = int64_t{1} << 20;  // further outputs are loop iterations

// The inputs that an output sees: `count` neighbours from `first`, which meet the taps
// tap, tap + up, tap + 2 up, ...
struct Span {
  int first, tap, count;
};

__device__ __forceinline__ Span span_of(int out, const Axis& axis) {
  const int position = out * axis.down - axis.pad;
  const int first = position > 0 ? (position + axis.up - 1) / axis.up : 0;
  const int tap = first * axis.up - position;
  const int taps = tap < axis.taps ? (axis.taps - tap + axis.up - 1) / axis.up : 0;
  const int inputs = axis.in - first;
  return {first, tap, taps < inputs ? taps : inputs};
}

// y is written in memory order, so neighbouring threads write neighbours: along x, or along the
// channels when those are innermost.
template <typename In, typename Out>
__global__ void __launch_bounds__(kGeneralThreads)
    general(const In* __restrict__ x, const float* __restrict__ filter, Out* __restrict__ y,
            Params p) {
  using A = acc_t<Out>;
  const int64_t fastest = p.channels_last ? p.channels : p.x.out;
  const int64_t second = p.channels_last ? p.x.out : p.y.out;
  const int64_t third = p.channels_last ? p.y.out : p.channels;
  const int64_t total = fastest * second * third * p.batch;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < total;
       i += threads) {
    const int64_t rows = divide(i, fastest), planes = divide(rows, second);
    const int64_t a = i - rows * fastest, b = rows - planes * second;
    const int64_t image = divide(planes, third), c = planes - image * third;
    const Span across = span_of(static_cast<int>(p.channels_last ? b : a), p.x);
    const Span along = span_of(static_cast<int>(p.channels_last ? c : b), p.y);
    const In* from = x + image * p.image + (p.channels_last ? a : c) * p.plane;

    A sum = 0;
    for (int j = 0; j < along.count; ++j) {
      const In* line = from + (along.first + j) * p.row + across.first * p.column;
      const float* taps = filter + p.origin + (along.tap + j * p.y.up) * p.filter_row +
                          across.tap * p.filter_column;
      for (int k = 0; k < across.count; ++k) {
        const A tap = __ldg(taps + k * p.x.up * p.filter_column);
        sum += tap * load(line[k * p.column]);
      }
    }
    y[i] = store<Out>(sum * static_cast<A>(p.gain));
  }
}

template <typename In, typename Out>
void launch_general(const In* x, const float* filter, Out* y, const Params& p,
                    cudaStream_t stream) {
  const int64_t total = p.batch * p.channels * p.x.out * p.y.out;
  if (total == 0) return;
  const int64_t blocks = std::min(ceil_div(total, kGeneralThreads), kGeneralBlocks);
  GPU_LAUNCH((general<In, Out>), dim3(static_cast<unsigned>(blocks)), dim3(kGeneralThreads), 0,
             stream, x, filter, y, p);
}

}  // namespace fastgan::cuda::upfirdn2d
