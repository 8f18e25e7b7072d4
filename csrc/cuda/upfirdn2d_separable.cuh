// upfirdn2d with a long separable filter: both passes in one kernel. The image between them stays
// in shared memory, in the type that kernels compute in.
#pragma once

#include "cuda/storage.cuh"
#include "cuda/upfirdn2d_params.h"
#include "cuda/upfirdn2d_tiled.cuh"

namespace fastgan::cuda::upfirdn2d {

constexpr int kLongestTaps = 24;

template <int kUp_, int kDown_, int kThreads_>
struct Strip {
  static constexpr int kUp = kUp_, kDown = kDown_, kThreads = kThreads_, kLanes = 1;
  static constexpr bool kLast = false;
  static_assert(kUp == 1 || kDown == 1, "tiles start on a multiple of kUp");
  static constexpr int kWidth = 32, kHeight = kDown == 1 ? 16 : 8;
  __host__ __device__ static constexpr int inputs(int count) {
    return ((count - 1) * kDown + kLongestTaps + kUp - 2) / kUp + 1;
  }
  static constexpr int kPitch = inputs(kWidth), kLines = inputs(kHeight);
  static constexpr int kPatch = kPitch * kLines, kBetween = kWidth * kLines;
};

template <typename T, typename Shape>
__device__ __forceinline__ void fill_patch(const T* __restrict__ x, acc_t<T>* patch,
                                           const Place& place, const Params& p) {
  for (int i = threadIdx.x; i < Shape::kPatch; i += Shape::kThreads) {
    const int ix = place.left + i % Shape::kPitch, iy = place.top + i / Shape::kPitch;
    const bool inside = ix >= 0 && ix < p.x.in && iy >= 0 && iy < p.y.in;
    patch[i] = inside ? load(x[place.from + iy * p.row + ix * p.column]) : acc_t<T>(0);
  }
}

// The sum of one output: `position` counts upsampled pixels from the first of the tile, `from`
// holds its pixels `step` apart. See Phase for the taps.
template <int kUp, typename A>
__device__ __forceinline__ A filter_line(const A* from, int step, const float* taps, int position,
                                         int shift, int count) {
  const int first = shift + (kUp - (position + shift) % kUp) % kUp;
  A sum = 0;
  for (int k = first; k < shift + count; k += kUp) {
    sum += static_cast<A>(taps[k - shift]) * from[(position + k) / kUp * step];
  }
  return sum;
}

template <typename T, typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, 1)
    separable(const T* __restrict__ x, const float* __restrict__ filter, T* __restrict__ y,
              Params p, int64_t units) {
  using A = acc_t<T>;
  GPU_SHARED(A, patch, Shape::kPatch);
  GPU_SHARED(A, between, Shape::kBetween);
  GPU_SHARED(float, taps, kLongestTaps);
  const Phase across = phase_of(p.x.pad, Shape::kUp), along = phase_of(p.y.pad, Shape::kUp);
  for (int k = threadIdx.x; k < p.x.taps; k += Shape::kThreads) {
    taps[k] = __ldg(filter + p.origin + k * p.filter_column);
  }

  for (int64_t unit = blockIdx.y; unit < units; unit += gridDim.y) {
    const Place place = place_of<Shape>(unit, p, across.lead, along.lead);
    fill_patch<T, Shape>(x, patch, place, p);
    __syncthreads();
    for (int i = threadIdx.x; i < Shape::kBetween; i += Shape::kThreads) {
      between[i] =
          filter_line<Shape::kUp>(patch + i / Shape::kWidth * Shape::kPitch, 1, taps,
                                  i % Shape::kWidth * Shape::kDown, across.shift, p.x.taps);
    }
    // Also keeps the patch whole until all have read it; `between` is safe until the next one.
    __syncthreads();
    for (int i = threadIdx.x; i < Shape::kWidth * Shape::kHeight; i += Shape::kThreads) {
      const int column = i % Shape::kWidth, row = i / Shape::kWidth;
      const int ox = place.x + column, oy = place.y + row;
      if (ox >= p.x.out || oy >= p.y.out) continue;
      const A sum = filter_line<Shape::kUp>(between + column, Shape::kWidth, taps,
                                            row * Shape::kDown, along.shift, p.y.taps);
      y[place.to + static_cast<int64_t>(oy) * p.x.out + ox] =
          store<T>(sum * static_cast<A>(p.gain));
    }
  }
}

template <typename T, typename Shape>
void launch_separable(const T* x, const float* filter, T* y, const Params& p, int grid_y,
                      cudaStream_t stream) {
  const int64_t units = p.batch * p.channels;
  const int64_t tiles = ceil_div(p.x.out, Shape::kWidth) * ceil_div(p.y.out, Shape::kHeight);
  const dim3 grid(static_cast<unsigned>(tiles),
                  static_cast<unsigned>(std::min<int64_t>(units, grid_y)));
  GPU_LAUNCH((separable<T, Shape>), grid, dim3(Shape::kThreads), 0, stream, x, filter, y, p, units);
}

}  // namespace fastgan::cuda::upfirdn2d
