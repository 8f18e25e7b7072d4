// upfirdn2d by tiles: a block stages the inputs of a tile of outputs and the filter in shared
// memory, a thread computes a patch of neighbouring outputs in registers. Zeros that upsampling
// inserts are never read: which taps meet a pixel is known when the kernel is compiled.
#pragma once

#include "cuda/storage.cuh"
#include "cuda/upfirdn2d_params.h"

namespace fastgan::cuda::upfirdn2d {

constexpr int kMaxGridY = 65535;

// Phases. Tiles start at outputs that are multiples of kUp, and padding = kUp * lead - shift with
// 0 <= shift < kUp. With `shift` taps put before the filter, tap k of the output kUp * g + r meets
// a pixel when kUp divides r + k, whatever the padding: pixel g - lead + (r + k) / kUp. The taps in
// front and those up to the bound are skipped, not multiplied by zero, as 0 * inf is NaN.
struct Phase {
  int lead, shift;
};

__host__ __device__ inline Phase phase_of(int pad, int up) {
  const int shift = (up - pad % up) % up;
  return {(pad + shift) / up, shift};
}

// Sizes of a tile. One of kUp and kDown is 1. kLanes channels lie side by side in the tile: 1 for
// contiguous images, more for channels_last.
template <int kUp_, int kDown_, int kTaps_, int kLanes_, int kThreads_>
struct Tile {
  static constexpr int kUp = kUp_, kDown = kDown_, kTaps = kTaps_, kLanes = kLanes_;
  static constexpr int kThreads = kThreads_;
  static_assert(kUp == 1 || kDown == 1, "a phase would not be known when compiling");

  static constexpr int kColumns = 4;  // outputs of a thread
  static constexpr int kRows = kUp == 4 ? 4 : kDown == 4 ? 1 : 2;
  static constexpr int kAcross = kLanes > 1 ? (kDown == 4 ? 1 : 2) : (kDown == 1 ? 16 : 8);
  static constexpr int kAlong = kThreads / (kAcross * kLanes);
  static_assert(kAcross * kAlong * kLanes == kThreads, "threads must fill the tile");
  static constexpr int kWidth = kColumns * kAcross, kHeight = kRows * kAlong;

  static constexpr int kReach = kTaps + kUp - 1;  // taps with those in front
  // Pixels that meet `count` neighbouring outputs.
  __host__ __device__ static constexpr int inputs(int count) {
    return ((count - 1) * kDown + kReach - 1) / kUp + 1;
  }
  static constexpr int kPitch = round_up(inputs(kWidth), 4);
  static constexpr int kPatch = kPitch * inputs(kHeight) * kLanes;
};

// Where a tile and a thread in it are.
struct Place {
  int64_t from, to;  // offsets of the first pixel of the plane in x, of the first output in y
  int x, y;          // first output of the tile
  int lanes;         // channels that exist
};

template <typename Shape>
__device__ __forceinline__ Place place_of(int64_t unit, const Params& p) {
  const int64_t groups = (p.channels + Shape::kLanes - 1) / Shape::kLanes;
  const int64_t image = divide(unit, groups), channel = (unit - image * groups) * Shape::kLanes;
  const int tiles = (p.x.out + Shape::kWidth - 1) / Shape::kWidth;
  const int row = blockIdx.x / tiles;
  const int64_t left = p.channels - channel, pixels = static_cast<int64_t>(p.x.out) * p.y.out;
  return {image * p.image + channel * p.plane,
          image * p.channels * pixels + channel * (p.channels_last ? 1 : pixels),
          static_cast<int>(blockIdx.x - row * tiles) * Shape::kWidth, row * Shape::kHeight,
          static_cast<int>(left < Shape::kLanes ? left : Shape::kLanes)};
}

template <typename T, typename Shape>
__device__ __forceinline__ void fill_patch(const T* __restrict__ x, acc_t<T>* patch,
                                           const Place& place, const Params& p, int lead_x,
                                           int lead_y) {
  const int left = place.x * Shape::kDown / Shape::kUp - lead_x;
  const int top = place.y * Shape::kDown / Shape::kUp - lead_y;
  for (int i = threadIdx.x; i < Shape::kPatch; i += Shape::kThreads) {
    const int lane = i % Shape::kLanes, pixel = i / Shape::kLanes;
    const int ix = left + pixel % Shape::kPitch, iy = top + pixel / Shape::kPitch;
    const bool inside = ix >= 0 && ix < p.x.in && iy >= 0 && iy < p.y.in && lane < place.lanes;
    patch[i] =
        inside ? load(x[place.from + lane * p.plane + iy * p.row + ix * p.column]) : acc_t<T>(0);
  }
}

template <typename Shape>
__device__ __forceinline__ void fill_taps(const float* __restrict__ filter, float* taps,
                                          const Params& p, int shift_x, int shift_y) {
  for (int i = threadIdx.x; i < Shape::kReach * Shape::kReach; i += Shape::kThreads) {
    const int kx = i % Shape::kReach - shift_x, ky = i / Shape::kReach - shift_y;
    const bool inside = kx >= 0 && kx < p.x.taps && ky >= 0 && ky < p.y.taps;
    taps[i] = inside ? __ldg(filter + p.origin + ky * p.filter_row + kx * p.filter_column) : 0.0f;
  }
}

// A line of pixels from shared memory. Without lanes threads are kColumns * kDown / kUp pixels
// apart: packs of that many keep the banks free of conflicts.
template <typename A, typename Shape, int N>
__device__ __forceinline__ void read_line(const A* from, A (&line)[N]) {
  constexpr int kApart = Shape::kColumns * Shape::kDown / Shape::kUp;
  constexpr int kMost = static_cast<int>(16 / sizeof(A));
  constexpr int kPack = Shape::kLanes > 1 ? 1 : (kApart < kMost ? kApart : kMost);
  static_assert(kPack <= 4);
#pragma unroll
  for (int i = 0; i < N; i += kPack) {
    const auto pack = *reinterpret_cast<const Pack<A, kPack>*>(from + i * Shape::kLanes);
#pragma unroll
    for (int k = 0; k < kPack && i + k < N; ++k) line[i + k] = pack.values[k];
  }
}

template <typename A, typename Shape>
__device__ __forceinline__ void filter_patch(const A* from, const float* taps, const Axis& x,
                                             const Axis& y, int shift_x, int shift_y,
                                             A (&sums)[Shape::kRows][Shape::kColumns]) {
  A line[Shape::inputs(Shape::kColumns)];
#pragma unroll
  for (int iy = 0; iy < Shape::inputs(Shape::kRows); ++iy) {
    read_line<A, Shape>(from + iy * Shape::kPitch * Shape::kLanes, line);
#pragma unroll
    for (int r = 0; r < Shape::kRows; ++r) {
      const int ky = iy * Shape::kUp - r * Shape::kDown;
      if (ky < 0 || ky >= Shape::kReach) continue;           // known when compiling
      if (ky < shift_y || ky >= shift_y + y.taps) continue;  // the same for all threads
#pragma unroll
      for (int kx = 0; kx < Shape::kReach; ++kx) {
        if (kx < shift_x || kx >= shift_x + x.taps) continue;
        const A tap = taps[ky * Shape::kReach + kx];
#pragma unroll
        for (int c = 0; c < Shape::kColumns; ++c) {
          if ((c * Shape::kDown + kx) % Shape::kUp != 0) continue;  // an inserted zero
          sums[r][c] += tap * line[(c * Shape::kDown + kx) / Shape::kUp];
        }
      }
    }
  }
}

template <typename T, typename Shape>
__device__ __forceinline__ void write_row(const acc_t<T> (&sums)[Shape::kColumns], T* to,
                                          int columns, const Params& p) {
  constexpr int kPack = Shape::kColumns < kWidestPack<T> ? Shape::kColumns : kWidestPack<T>;
  const acc_t<T> gain = static_cast<acc_t<T>>(p.gain);
  if (Shape::kLanes == 1 && p.packed) {  // columns is then 0 or kColumns
#pragma unroll
    for (int c = 0; c < Shape::kColumns && columns > 0; c += kPack) {
      Pack<T, kPack> pack;
#pragma unroll
      for (int k = 0; k < kPack; ++k) pack.values[k] = store<T>(sums[c + k] * gain);
      *reinterpret_cast<Pack<T, kPack>*>(to + c) = pack;
    }
    return;
  }
  const int64_t step = Shape::kLanes > 1 ? p.channels : 1;
#pragma unroll
  for (int c = 0; c < Shape::kColumns; ++c) {
    if (c < columns) to[c * step] = store<T>(sums[c] * gain);
  }
}

// The second launch bound, one block, lifts the compiler's own limit on registers, for which it
// would spill.
template <typename T, typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, 1)
    tiled(const T* __restrict__ x, const float* __restrict__ filter, T* __restrict__ y, Params p,
          int64_t units) {
  using A = acc_t<T>;
  using Aligned = Pack<A, kWidestPack<A>>;
  GPU_SHARED(Aligned, storage, Shape::kPatch / kWidestPack<A>);
  GPU_SHARED(float, taps, Shape::kReach* Shape::kReach);
  A* patch = reinterpret_cast<A*>(storage);

  const Phase across = phase_of(p.x.pad, Shape::kUp), along = phase_of(p.y.pad, Shape::kUp);
  const int lane = threadIdx.x % Shape::kLanes, thread = threadIdx.x / Shape::kLanes;
  const int tx = thread % Shape::kAcross * Shape::kColumns;
  const int ty = thread / Shape::kAcross * Shape::kRows;
  const int pixel = ty * Shape::kDown / Shape::kUp * Shape::kPitch + tx * Shape::kDown / Shape::kUp;
  fill_taps<Shape>(filter, taps, p, across.shift, along.shift);

  for (int64_t unit = blockIdx.y; unit < units; unit += gridDim.y) {
    const Place place = place_of<Shape>(unit, p);
    fill_patch<T, Shape>(x, patch, place, p, across.lead, along.lead);
    __syncthreads();
    A sums[Shape::kRows][Shape::kColumns] = {};
    filter_patch<A, Shape>(patch + pixel * Shape::kLanes + lane, taps, p.x, p.y, across.shift,
                           along.shift, sums);
    const int ox = place.x + tx, left = p.x.out - ox;
    const int columns = lane < place.lanes && left > 0 ? left : 0;
    const int64_t step = Shape::kLanes > 1 ? p.channels : 1;
#pragma unroll
    for (int r = 0; r < Shape::kRows; ++r) {
      const int oy = place.y + ty + r;
      if (oy >= p.y.out) continue;
      T* to = y + place.to + (static_cast<int64_t>(oy) * p.x.out + ox) * step + lane;
      write_row<T, Shape>(sums[r], to, columns, p);
    }
    __syncthreads();  // before the next unit overwrites the patch
  }
}

template <typename T, typename Shape>
void launch_tiled(const T* x, const float* filter, T* y, Params p, int grid_y,
                  cudaStream_t stream) {
  const int64_t units = p.batch * ceil_div(p.channels, Shape::kLanes);
  const int64_t tiles = ceil_div(p.x.out, Shape::kWidth) * ceil_div(p.y.out, Shape::kHeight);
  constexpr int kPack = Shape::kColumns < kWidestPack<T> ? Shape::kColumns : kWidestPack<T>;
  p.packed = p.x.out % Shape::kColumns == 0 && is_aligned(y, kPack * sizeof(T));
  const dim3 grid(static_cast<unsigned>(tiles),
                  static_cast<unsigned>(std::min<int64_t>(units, grid_y)));
  GPU_LAUNCH((tiled<T, Shape>), grid, dim3(Shape::kThreads), 0, stream, x, filter, y, p, units);
}

}  // namespace fastgan::cuda::upfirdn2d
