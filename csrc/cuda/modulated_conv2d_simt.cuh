// The modulated convolution of float and double in plain arithmetic: a register-tiled GEMM of the
// weights with a patch of x that lies in shared memory.
//
// Block of float: 128 threads, 64 channels x 8 rows of 16 pixels; a thread has 8 channels x 8
// pixels of a row. Shared: 26 KiB (3 x 3: 8 channels of x at a time, a patch of 10 x 18) or 14 KiB
// (16 channels, no halo). Per step of a 3 x 3 weight the block reads 5.6 KiB of x and 18 KiB of
// weights and does 590 k multiply-adds; a thread reads 10 pixels and 24 weights for 192 of them.
// Lanes that share channels read their weights by broadcast; pixels have conflicts of two. Block of
// double: 32 channels, 4 per thread, half as many channels of x at a time.
#pragma once

#include "cuda/modulated_conv2d_epilogue.cuh"
#include "cuda/modulated_conv2d_tile.cuh"

namespace fastgan::cuda::modulated_conv2d {

template <typename T_, int kReach_, int kGroups_, int kTileHeight_>
struct SimtShape {
  using T = T_;
  static constexpr bool kMajor = false;
  static constexpr int kReach = kReach_, kTaps = kReach * kReach;
  static constexpr int kOut = sizeof(T) == 8 ? 4 : 8, kPixels = 8;  // of a thread
  static constexpr int kTileWidth = 16, kTileHeight = kTileHeight_;
  static constexpr int kStrips = kTileWidth / kPixels * kTileHeight;
  static constexpr int kThreads = kStrips * kGroups_, kM = kOut * kGroups_;
  static constexpr int kChannels = (kReach == 1 ? 64 : 32) / static_cast<int>(sizeof(T));
  static constexpr int kLoads = 4;
  static constexpr int kPatchRows = kTileHeight + kReach - 1;
  static constexpr int kPatchColumns = kTileWidth + kReach - 1, kPatchPitch = 20;
  static constexpr int kPatchSize = kChannels * kPatchRows * kPatchPitch;
  static constexpr int kWeightPitch = kM + 4;
  __device__ __forceinline__ static T round(T value) { return value; }
};

template <typename T, typename Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    modulated_conv_simt(const T* __restrict__ x, const T* __restrict__ weight, T* __restrict__ y,
                        Params<T> p) {
  constexpr int kOut = Shape::kOut, kPixels = Shape::kPixels, kReach = Shape::kReach;
  constexpr int kLines = larger(Operands<Shape>::kLines, Staging<Shape>::kLines);
  GPU_SHARED(Line, shared, kLines);
  const Place place = place_of<Shape>(p);
  const int strip = threadIdx.x % Shape::kStrips, group = threadIdx.x / Shape::kStrips;
  const int row = strip / 2, column = strip % 2 * kPixels;
  T sums[kOut][kPixels] = {};

  const auto compute = [&](const T* patch, const T* weights) {
#pragma unroll 1
    for (int c = 0; c < Shape::kChannels; ++c) {
#pragma unroll
      for (int ky = 0; ky < kReach; ++ky) {
        T line[kPixels + kReach - 1];
        read_run(patch + (c * Shape::kPatchRows + row + ky) * Shape::kPatchPitch + column, line);
#pragma unroll
        for (int kx = 0; kx < kReach; ++kx) {
          T w[kOut];
          read_run(weights + ((ky * kReach + kx) * Shape::kChannels + c) * Shape::kWeightPitch +
                       group * kOut,
                   w);
#pragma unroll
          for (int o = 0; o < kOut; ++o) {
#pragma unroll
            for (int i = 0; i < kPixels; ++i) sums[o][i] += w[o] * line[i + kx];
          }
        }
      }
    }
  };
  for_each_step<Shape>(x, weight, shared, place, place.y - p.pad_y, place.x - p.pad_x, p, compute);

  using S = Staging<Shape>;
  T* staged = reinterpret_cast<T*>(shared);
#pragma unroll 1
  for (int first = 0; first < Shape::kM; first += S::kSlice) {
    __syncthreads();
    const int channel = group * kOut - first, pixel = row * Shape::kTileWidth + column;
    if (channel >= 0 && channel < S::kSlice) {
#pragma unroll
      for (int o = 0; o < kOut; ++o) {
#pragma unroll
        for (int i = 0; i < kPixels; ++i) {
          staged[p.y_channels_last ? (pixel + i) * S::kPixelPitch + channel + o
                                   : (channel + o) * S::kPlanePitch + pixel + i] = sums[o][i];
        }
      }
    }
    __syncthreads();
    finish_slice<Shape>(staged, place, place.channel + first, p, y);
  }
}

}  // namespace fastgan::cuda::modulated_conv2d
