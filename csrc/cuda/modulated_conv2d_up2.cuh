// Twofold upsampling fused with a 3 x 3 modulated convolution and a separable filter of 4 taps.
//
// Zero insertion and convolution are a transposed convolution t of stride 2. Split by the parity of
// the output it has 4, 2, 2 and 1 taps: cell (i, j) is t[2i + a, 2j + b] for a, b in {0, 1}, where
// an even coordinate meets pixel i with tap 2 and pixel i - 1 with tap 0, an odd one pixel i with
// tap 1. That is 9 multiply-adds per pixel and pair of channels. A block computes cells of t, puts
// them into shared memory 16 channels at a time, and filters them there: the kernels differ in how
// they compute cells. Of kCellRows x 16 cells come 2 kCellRows - 4 rows of 28 results: with 8 rows
// the halo of the filter costs half as many multiply-adds again.
//
// Blocks of 256 threads, 32 channels x 8 x 16 cells: 16 k sums, 64 of a thread. A step reads 9 x 17
// pixels and 9 * 32 weights of 32 bytes of channels: 4.8 and 9 KiB for 37 k multiply-adds per
// channel. Shared: 34 KiB, the slice of t, which for double has 8 channels.
// Launch bounds ask for two blocks of a multiprocessor where the compiler manages without spills.
#pragma once

#include "cuda/modulated_conv2d_epilogue.cuh"
#include "cuda/modulated_conv2d_simt.cuh"
#include "cuda/modulated_conv2d_tile.cuh"
#include "cuda/modulated_conv2d_wmma.cuh"

namespace fastgan::cuda::modulated_conv2d {

constexpr int kFirTaps = 4;

// Blocks of a multiprocessor that float kernels leave registers for. For sm_120 the compiler needs
// a few more than the half that two blocks have each, and would spill.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1200
constexpr int kUpBlocks = 1;
#else
constexpr int kUpBlocks = 2;
#endif

// What the tiles of both kernels have in common; 32 bytes of channels are a step.
template <typename T, int kCellRows_, int kSlice_>
struct UpTile {
  static constexpr int kReach = 3, kTaps = 9, kLoads = 1;
  static constexpr int kCellRows = kCellRows_, kCellColumns = 16, kSlice = kSlice_;
  static constexpr int kCells = kCellRows * kCellColumns;
  static constexpr int kPatchRows = kCellRows + 1, kPatchColumns = kCellColumns + 1;
  static constexpr int kTileHeight = 2 * kCellRows - 4, kTileWidth = 2 * kCellColumns - 4;
  static constexpr int kChannels = 32 / static_cast<int>(sizeof(T));
  // Slices of t: [parity][channel][cell]. Pitches put neighbours of any kind into other banks.
  static constexpr int kPlanePitch = kCells + 4, kParityPitch = kSlice * kPlanePitch + 16;
  static constexpr int kSliceLines = lines(4 * kParityPitch * static_cast<int>(sizeof(acc_t<T>)));
};

template <typename T_, int kGroups_, int kCellRows_>
struct UpSimtShape : UpTile<T_, kCellRows_, (sizeof(T_) == 8 ? 4 : 8) * (kGroups_ < 2 ? 1 : 2)> {
  using T = T_;
  using Tile = UpTile<T, kCellRows_, (sizeof(T_) == 8 ? 4 : 8) * (kGroups_ < 2 ? 1 : 2)>;
  static constexpr bool kMajor = false;
  static constexpr int kOut = sizeof(T) == 8 ? 4 : 8, kPair = 2;  // channels, cells of a thread
  static constexpr int kStrips = Tile::kCells / kPair;
  static constexpr int kThreads = kStrips * kGroups_, kM = kOut * kGroups_;
  static constexpr int kPatchPitch = 20;
  static constexpr int kPatchSize = Tile::kChannels * Tile::kPatchRows * kPatchPitch;
  static constexpr int kWeightPitch = kM + 4;
  __device__ __forceinline__ static T round(T value) { return value; }
};

// kFragments times 16 channels, as many warps to share the rows of cells.
template <typename T_, int kFragments_, int kCellRows_>
struct UpWmmaShape : UpTile<T_, kCellRows_, 16>, Mma<T_> {
  using T = T_;
  using Tile = UpTile<T, kCellRows_, 16>;
  static constexpr bool kMajor = true;
  static constexpr int kRows = 2, kStrips = kCellRows_ / kRows;  // rows of a warp
  static constexpr int kThreads = 32 * kFragments_ * kStrips, kM = 16 * kFragments_;
  static constexpr int kPad = 16 / static_cast<int>(sizeof(T));
  static constexpr int kPixelPitch = Tile::kChannels;
  static constexpr int kPatchSize = Tile::kPatchRows * Tile::kPatchColumns * kPixelPitch;
  static constexpr int kWeightPitch = Tile::kChannels + kPad;
};

// The cells that a tile of results needs: the first, and the first result's place among them.
struct Cells {
  int x, y;         // first cell
  int column, row;  // of t, from the first cell: where the taps of the first result begin
};

template <typename T>
__device__ __forceinline__ Cells cells_of(const Place& place, const Params<T>& p) {
  const int x = place.x - p.pad_x, y = place.y - p.pad_y;  // in t
  const int column = x & 1, row = y & 1;                   // of negative numbers too
  return {(x - column) / 2, (y - row) / 2, column, row};
}

// Filters a slice of t and finishes its results; a thread has two columns of one channel.
template <typename Shape>
__device__ __forceinline__ void filter_slice(const acc_t<typename Shape::T>* t, const Cells& cells,
                                             const Place& place, int first,
                                             const Params<typename Shape::T>& p,
                                             typename Shape::T* __restrict__ y) {
  using A = acc_t<typename Shape::T>;
  constexpr int kPairs = Shape::kTileWidth / 2, kAcross = Shape::kCellColumns;
  A taps[kFirTaps];
#pragma unroll
  for (int k = 0; k < kFirTaps; ++k)
    taps[k] = A(2) * __ldg(p.filter + kFirTaps - 1 - k);  // gain 4 for both axes
  for (int unit = threadIdx.x; unit < kPairs * Shape::kSlice; unit += Shape::kThreads) {
    const int pair = p.y_channels_last ? unit / Shape::kSlice : unit % kPairs;
    const int channel = p.y_channels_last ? unit % Shape::kSlice : unit / kPairs;
    const int ox = place.x + 2 * pair, count = within(p.out_width - ox, 2);
    if (count <= 0) continue;
    A window[kFirTaps][2] = {};  // of the last rows, filtered along x
#pragma unroll 1
    for (int row = 0; row < Shape::kTileHeight + kFirTaps - 1; ++row) {
      const int in_t = row + cells.row;
      const A* line = t + (in_t & 1) * 2 * Shape::kParityPitch + channel * Shape::kPlanePitch +
                      in_t / 2 * kAcross + pair;
      A value[kFirTaps + 1];
#pragma unroll
      for (int k = 0; k <= kFirTaps; ++k) {
        const int column = cells.column + k;
        value[k] = line[(column & 1) * Shape::kParityPitch + column / 2];
      }
      A v[2] = {};
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        A sum = 0;
#pragma unroll
        for (int k = 0; k < kFirTaps; ++k) {
          sum += taps[k] * value[i + k];
          window[k][i] = k + 1 < kFirTaps ? window[k + 1 < kFirTaps ? k + 1 : k][i] : sum;
          v[i] += taps[k] * window[k][i];
        }
      }
      const int oy = place.y + row - (kFirTaps - 1);
      if (row >= kFirTaps - 1) {
        finish_pixels(v, count, place.sample, first + channel, oy, ox, p, y);
      }
    }
  }
}

template <typename T, typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, sizeof(T) == 8 ? 1 : kUpBlocks)
    modulated_up2_simt(const T* __restrict__ x, const T* __restrict__ weight, T* __restrict__ y,
                       Params<T> p) {
  constexpr int kOut = Shape::kOut, kPair = Shape::kPair, kAcross = Shape::kCellColumns;
  constexpr int kLines = larger(Operands<Shape>::kLines, Shape::kSliceLines);
  GPU_SHARED(Line, shared, kLines);
  const Place place = place_of<Shape>(p);
  const Cells cells = cells_of(place, p);
  const int strip = threadIdx.x % Shape::kStrips, group = threadIdx.x / Shape::kStrips;
  const int row = strip / (kAcross / kPair), column = strip % (kAcross / kPair) * kPair;
  T sums[4][kOut][kPair] = {};

  const auto compute = [&](const T* patch, const T* weights) {
#pragma unroll 1
    for (int c = 0; c < Shape::kChannels; ++c) {
      T pixels[2][kPair + 1];
#pragma unroll
      for (int i = 0; i < 2 * (kPair + 1); ++i) {
        pixels[i / (kPair + 1)][i % (kPair + 1)] =
            patch[(c * Shape::kPatchRows + row + i / (kPair + 1)) * Shape::kPatchPitch + column +
                  i % (kPair + 1)];
      }
#pragma unroll
      for (int tap = 0; tap < Shape::kTaps; ++tap) {
        const int ky = tap / 3, kx = tap % 3;
        T w[kOut];
        read_run(weights + (tap * Shape::kChannels + c) * Shape::kWeightPitch + group * kOut, w);
#pragma unroll
        for (int o = 0; o < kOut; ++o) {
#pragma unroll
          for (int i = 0; i < kPair; ++i) {
            sums[ky % 2 * 2 + kx % 2][o][i] += w[o] * pixels[ky > 0][i + (kx > 0)];
          }
        }
      }
    }
  };
  for_each_step<Shape>(x, weight, shared, place, cells.y - 1, cells.x - 1, p, compute);

  T* t = reinterpret_cast<T*>(shared);
#pragma unroll 1
  for (int first = 0; first < Shape::kM; first += Shape::kSlice) {
    __syncthreads();
    const int channel = group * kOut - first;
    if (channel >= 0 && channel < Shape::kSlice) {
#pragma unroll
      for (int i = 0; i < 4 * kOut * kPair; ++i) {
        const int parity = i / (kOut * kPair), o = i / kPair % kOut, cell = i % kPair;
        t[parity * Shape::kParityPitch + (channel + o) * Shape::kPlanePitch + row * kAcross +
          column + cell] = sums[parity][o][cell];
      }
    }
    __syncthreads();
    filter_slice<Shape>(t, cells, place, place.channel + first, p, y);
  }
}

template <typename T, typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, sizeof(T) == 2 ? 1 : kUpBlocks)
    modulated_up2_wmma(const T* __restrict__ x, const T* __restrict__ weight, T* __restrict__ y,
                       Params<T> p) {
  constexpr int kRows = Shape::kRows, kAcross = Shape::kCellColumns;
  constexpr int kLines = larger(Operands<Shape>::kLines, Shape::kSliceLines);
  GPU_SHARED(Line, shared, kLines);
  const Place place = place_of<Shape>(p);
  const Cells cells = cells_of(place, p);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int row = warp % Shape::kStrips * kRows, fragment = warp / Shape::kStrips;
  Sums<T> sums[4][kRows];
#pragma unroll
  for (int parity = 0; parity < 4; ++parity) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) wmma::fill_fragment(sums[parity][r], 0.0f);
  }

  const auto compute = [&](const T* patch, const T* weights) {
#pragma unroll
    for (int c = 0; c < Shape::kChannels; c += Shape::kK) {
#pragma unroll
      for (int corner = 0; corner < 4; ++corner) {  // the pixels of a cell: (i - 1, j - 1) first
        const int dy = corner / 2, dx = corner % 2;
        Right<T> right[kRows];
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          const int pixel = (row + r + dy) * Shape::kPatchColumns + dx;
          wmma::load_matrix_sync(right[r], patch + pixel * Shape::kPixelPitch + c,
                                 Shape::kPixelPitch);
        }
#pragma unroll
        for (int tap = 0; tap < Shape::kTaps; ++tap) {
          const int ky = tap / 3, kx = tap % 3;
          if ((ky > 0) != (dy > 0) || (kx > 0) != (dx > 0)) continue;
          Left<T> left;
          wmma::load_matrix_sync(
              left, weights + (tap * Shape::kM + fragment * 16) * Shape::kWeightPitch + c,
              Shape::kWeightPitch);
#pragma unroll
          for (int r = 0; r < kRows; ++r) {
            auto& sum = sums[ky % 2 * 2 + kx % 2][r];
            wmma::mma_sync(sum, left, right[r], sum);
          }
        }
      }
    }
  };
  for_each_step<Shape>(x, weight, shared, place, cells.y - 1, cells.x - 1, p, compute);

  float* t = reinterpret_cast<float*>(shared);
#pragma unroll 1
  for (int slice = 0; slice < Shape::kM / 16; ++slice) {
    __syncthreads();
    if (fragment == slice) {  // the same for all lanes of a warp
#pragma unroll
      for (int parity = 0; parity < 4; ++parity) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          wmma::store_matrix_sync(t + parity * Shape::kParityPitch + (row + r) * kAcross,
                                  sums[parity][r], Shape::kPlanePitch, wmma::mem_row_major);
        }
      }
    }
    __syncthreads();
    filter_slice<Shape>(t, cells, place, place.channel + slice * 16, p, y);
  }
}

}  // namespace fastgan::cuda::modulated_conv2d
