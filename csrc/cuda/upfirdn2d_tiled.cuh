// upfirdn2d by tiles: a block stages the filter and, step by step, the inputs of a tile of outputs
// in shared memory, in the storage type; a thread computes a few neighbouring outputs in registers.
// Zeros that upsampling inserts are never read: which taps meet a pixel is known when the kernel is
// compiled.
#pragma once

#include "cuda/storage.cuh"
#include "cuda/upfirdn2d_params.h"

namespace fastgan::cuda::upfirdn2d {

constexpr int kMaxGridY = 65535;
constexpr int kSectorBytes = 32;  // the least that memory delivers

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

// Sizes of a tile, chosen so that halos stay a small part of what is read and a patch stays within
// 48 KiB, better within 32. One of kUp and kDown is 1; kBytes is the size of an element.
template <int kUp_, int kDown_, int kTaps_, int kBytes, bool kLast_>
struct Tile {
  static constexpr int kUp = kUp_, kDown = kDown_, kTaps = kTaps_;
  static constexpr bool kLast = kLast_;  // channels_last
  static_assert(kUp == 1 || kDown == 1, "a phase would not be known when compiling");

  // Channels side by side: in channels_last those of a sector, the least that memory delivers, so
  // that there is room for many pixels.
  static constexpr int kLanes = kLast ? kSectorBytes / kBytes : 1;

  // Outputs of a thread at a time.
  static constexpr int kColumns = kLast ? (kUp == 4 || kDown == 4 ? 4 : 8) : kBytes == 2 ? 8 : 4;
  static constexpr int kRows = kUp > 1 ? kUp : kLast || kDown == 4 ? 1 : 2;

  // Outputs of the tile. The patch slides over it in steps: the lines of inputs that two steps
  // share stay where they are.
  static constexpr int kWidth = kLast ? 32 / kDown : kColumns * (kDown == 4 ? 8 : 16);
  static constexpr int kStep = (kLast && kUp == 1 ? 16 : 32) / kDown;
  static constexpr int kSteps = !kLast ? 2 : kUp > 1 ? 1 : (kDown == 1 ? 1 : 2) * kTaps / 4;
  static constexpr int kHeight = kStep * kSteps;

  static constexpr int kAcross = kWidth / kColumns;
  static constexpr int kWork = kAcross * (kStep / kRows) * kLanes;
  static constexpr int kThreads = kWork < 256 ? kWork : 256;
  static constexpr int kAlong = kThreads / (kAcross * kLanes);
  static constexpr int kPasses = kWork / kThreads;  // of the threads over a step

  static constexpr int kReach = kTaps + kUp - 1;  // taps with those in front
  // Pixels that meet `count` neighbouring outputs.
  __host__ __device__ static constexpr int inputs(int count) {
    return ((count - 1) * kDown + kReach - 1) / kUp + 1;
  }
  static constexpr int kPixels = inputs(kWidth), kLines = inputs(kStep);
  static constexpr int kAdvance = kStep * kDown / kUp;  // lines that a step is ahead of the last

  // Elements of a line, a multiple of 16 bytes. In channels_last the threads of a warp are in
  // neighbouring rows; a pack or a pixel more spreads those over the banks.
  static constexpr int kPack = 16 / kBytes;
  static constexpr int kPitch = !kLast       ? round_up(kPixels, kPack)
                                : kDown == 1 ? (kPixels | 1) * kLanes
                                             : kPixels * kLanes + kPack;
  static constexpr int kPatch = kPitch * kLines;
};

// Where a tile is.
struct Place {
  int64_t from, to;  // offsets of the first pixel of the plane in x, of the first output in y
  int x, y;          // first output of the tile
  int left, top;     // first input of the tile
  int lanes;         // channels that exist
};

// The channels of one tile of a channels_last image are neighbouring blocks, as what they read is
// side by side in memory.
template <typename Shape>
__device__ __forceinline__ Place place_of(int64_t unit, const Params& p, int lead_x, int lead_y) {
  const int groups = static_cast<int>(ceil_div(p.channels, Shape::kLanes));
  const int tile = Shape::kLast ? blockIdx.x / groups : blockIdx.x;
  const int64_t image = Shape::kLast ? unit : divide(unit, p.channels);
  const int64_t channel = Shape::kLast
                              ? static_cast<int64_t>(blockIdx.x - tile * groups) * Shape::kLanes
                              : unit - image * p.channels;
  const int tiles = (p.x.out + Shape::kWidth - 1) / Shape::kWidth;
  const int row = tile / tiles;
  const int x = (tile - row * tiles) * Shape::kWidth, y = row * Shape::kHeight;
  const int64_t pixels = static_cast<int64_t>(p.x.out) * p.y.out;
  return {image * p.image + channel * p.plane,
          image * p.channels * pixels + channel * (Shape::kLast ? 1 : pixels),
          x,
          y,
          x * Shape::kDown / Shape::kUp - lead_x,
          y * Shape::kDown / Shape::kUp - lead_y,
          static_cast<int>(smaller(p.channels - channel, Shape::kLanes))};
}

// Loads `count` lines of the tile's inputs, a warp each, in packs of kPack channels. Line k is kept
// at k % kLines.
template <int kPack, typename T, typename Shape>
__device__ __forceinline__ void fill_lines(const T* __restrict__ x, T* patch, const Place& place,
                                           const Params& p, int first, int count) {
  using Channels = Pack<T, kPack>;
  constexpr int kPacks = Shape::kLanes / kPack, kWarp = 32;
  static_assert(Shape::kThreads % kWarp == 0);
  for (int k = threadIdx.x / kWarp; k < count; k += Shape::kThreads / kWarp) {
    const int line = first + k, iy = place.top + line;
    const bool some = iy >= 0 && iy < p.y.in;
    const T* from = x + place.from + iy * p.row;
    T* to = patch + line % Shape::kLines * Shape::kPitch;
#pragma unroll 4
    for (int i = threadIdx.x % kWarp; i < Shape::kPixels * kPacks; i += kWarp) {
      const int column = i / kPacks, lane = i % kPacks * kPack, ix = place.left + column;
      const bool inside = some && ix >= 0 && ix < p.x.in && lane < place.lanes;
      Channels channels;
#pragma unroll
      for (int c = 0; c < kPack; ++c) channels.values[c] = store<T>(acc_t<T>(0));
      if (inside) {
        channels = *reinterpret_cast<const Channels*>(from + lane * p.plane + ix * p.column);
      }
      *reinterpret_cast<Channels*>(to + column * Shape::kLanes + lane) = channels;
    }
  }
}

template <typename T, typename Shape>
__device__ __forceinline__ void fill_step(const T* __restrict__ x, T* patch, const Place& place,
                                          const Params& p, int step) {
  const int kept = step == 0 ? 0 : Shape::kLines - Shape::kAdvance;
  const int first = step * Shape::kAdvance + kept, count = Shape::kLines - kept;
  if (Shape::kLast && p.wide) {
    fill_lines<Shape::kLast ? Shape::kPack : 1, T, Shape>(x, patch, place, p, first, count);
  } else {
    fill_lines<1, T, Shape>(x, patch, place, p, first, count);
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
template <typename T, typename Shape, int N>
__device__ __forceinline__ void read_line(const T* from, acc_t<T> (&line)[N]) {
  constexpr int kApart = Shape::kColumns * Shape::kDown / Shape::kUp;
  constexpr int kPack = Shape::kLast ? 1 : (kApart < Shape::kPack ? kApart : Shape::kPack);
#pragma unroll
  for (int i = 0; i < N; i += kPack) {
    const auto pack = *reinterpret_cast<const Pack<T, kPack>*>(from + i * Shape::kLanes);
#pragma unroll
    for (int k = 0; k < kPack && i + k < N; ++k) line[i + k] = load(pack.values[k]);
  }
}

// `from` is where the thread's first pixel is in a line, `first` is where its first line is.
template <typename T, typename Shape>
__device__ __forceinline__ void filter_patch(const T* from, int first, const float* taps,
                                             const Axis& x, const Axis& y, int shift_x, int shift_y,
                                             acc_t<T> (&sums)[Shape::kRows][Shape::kColumns]) {
  acc_t<T> line[Shape::inputs(Shape::kColumns)];
#pragma unroll
  for (int iy = 0; iy < Shape::inputs(Shape::kRows); ++iy) {
    int at = first + iy;
    if (Shape::kSteps > 1 && at >= Shape::kLines) at -= Shape::kLines;
    read_line<T, Shape>(from + at * Shape::kPitch, line);
#pragma unroll
    for (int r = 0; r < Shape::kRows; ++r) {
      const int ky = iy * Shape::kUp - r * Shape::kDown;
      if (ky < 0 || ky >= Shape::kReach) continue;           // known when compiling
      if (ky < shift_y || ky >= shift_y + y.taps) continue;  // the same for all threads
#pragma unroll
      for (int kx = 0; kx < Shape::kReach; ++kx) {
        if (kx < shift_x || kx >= shift_x + x.taps) continue;
        const acc_t<T> tap = taps[ky * Shape::kReach + kx];
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
  if (!Shape::kLast && p.packed) {  // columns is then 0 or kColumns
#pragma unroll
    for (int c = 0; c < Shape::kColumns && columns > 0; c += kPack) {
      Pack<T, kPack> pack;
#pragma unroll
      for (int k = 0; k < kPack; ++k) pack.values[k] = store<T>(sums[c + k] * gain);
      *reinterpret_cast<Pack<T, kPack>*>(to + c) = pack;
    }
    return;
  }
  const int64_t step = Shape::kLast ? p.channels : 1;
#pragma unroll
  for (int c = 0; c < Shape::kColumns; ++c) {
    if (c < columns) to[c * step] = store<T>(sums[c] * gain);
  }
}

// Filters the outputs of one step that the thread computes in all passes.
template <typename T, typename Shape>
__device__ __forceinline__ void filter_step(const T* patch, const float* taps, T* __restrict__ y,
                                            const Place& place, const Params& p, int step,
                                            int shift_x, int shift_y) {
  const int lane = threadIdx.x % Shape::kLanes, thread = threadIdx.x / Shape::kLanes;
  const int across = Shape::kLast ? thread / Shape::kAlong : thread % Shape::kAcross;
  const int along = Shape::kLast ? thread % Shape::kAlong : thread / Shape::kAcross;
  const int tx = across * Shape::kColumns, ox = place.x + tx, left = p.x.out - ox;
  const int columns = lane < place.lanes && left > 0 ? left : 0;
  const T* from = patch + tx * Shape::kDown / Shape::kUp * Shape::kLanes + lane;
  const int64_t pixel = Shape::kLast ? p.channels : 1;
#pragma unroll 1
  for (int pass = 0; pass < Shape::kPasses; ++pass) {
    // Memory may have changed, for all the compiler knows: else it would keep every tap in
    // registers from pass to pass, and spill.
    if constexpr (Shape::kPasses > 1) __syncwarp();
    const int ty = (pass * Shape::kAlong + along) * Shape::kRows;
    const int first = (step * Shape::kAdvance + ty * Shape::kDown / Shape::kUp) % Shape::kLines;
    acc_t<T> sums[Shape::kRows][Shape::kColumns] = {};
    filter_patch<T, Shape>(from, first, taps, p.x, p.y, shift_x, shift_y, sums);
#pragma unroll
    for (int r = 0; r < Shape::kRows; ++r) {
      const int oy = place.y + step * Shape::kStep + ty + r;
      if (oy >= p.y.out) continue;
      T* to = y + place.to + (static_cast<int64_t>(oy) * p.x.out + ox) * pixel + lane;
      write_row<T, Shape>(sums[r], to, columns, p);
    }
  }
}

// The second launch bound: three blocks share the registers of a multiprocessor, so that some load
// while others compute. For double one block, as the compiler would spill.
template <typename T, typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, sizeof(T) < 8 ? 3 : 1)
    tiled(const T* __restrict__ x, const float* __restrict__ filter, T* __restrict__ y, Params p,
          int64_t units) {
  using Aligned = Pack<T, kWidestPack<T>>;
  GPU_SHARED(Aligned, storage, Shape::kPatch / kWidestPack<T>);
  GPU_SHARED(float, taps, Shape::kReach* Shape::kReach);
  T* patch = reinterpret_cast<T*>(storage);

  const Phase across = phase_of(p.x.pad, Shape::kUp), along = phase_of(p.y.pad, Shape::kUp);
  fill_taps<Shape>(filter, taps, p, across.shift, along.shift);
  for (int64_t unit = blockIdx.y; unit < units; unit += gridDim.y) {
    const Place place = place_of<Shape>(unit, p, across.lead, along.lead);
#pragma unroll 1
    for (int step = 0; step < Shape::kSteps; ++step) {
      if (place.y + step * Shape::kStep >= p.y.out) break;  // the same for all threads
      fill_step<T, Shape>(x, patch, place, p, step);
      __syncthreads();
      filter_step<T, Shape>(patch, taps, y, place, p, step, across.shift, along.shift);
      __syncthreads();  // before the next step or unit overwrites lines
    }
  }
}

template <typename T, typename Shape>
void launch_tiled(const T* x, const float* filter, T* y, Params p, int grid_y,
                  cudaStream_t stream) {
  static_assert(Shape::kPack == kWidestPack<T>);
  const int64_t units = Shape::kLast ? p.batch : p.batch * p.channels;
  const int64_t groups = Shape::kLast ? ceil_div(p.channels, Shape::kLanes) : 1;
  const int64_t tiles = ceil_div(p.x.out, Shape::kWidth) * ceil_div(p.y.out, Shape::kHeight);
  constexpr int kPack = Shape::kColumns < kWidestPack<T> ? Shape::kColumns : kWidestPack<T>;
  p.packed = p.x.out % Shape::kColumns == 0 && is_aligned(y, kPack * sizeof(T));
  p.wide = p.plane == 1 && is_aligned(x);
  for (int64_t size : {p.channels, p.image, p.row, p.column}) p.wide &= size % Shape::kPack == 0;
  const dim3 grid(static_cast<unsigned>(tiles * groups),
                  static_cast<unsigned>(std::min<int64_t>(units, grid_y)));
  GPU_LAUNCH((tiled<T, Shape>), grid, dim3(Shape::kThreads), 0, stream, x, filter, y, p, units);
}

}  // namespace fastgan::cuda::upfirdn2d
