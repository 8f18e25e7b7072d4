// The modulated convolution on tensor cores, by nvcuda::wmma: half types, and float rounded to
// tf32.
//
// Block: 4 warps, 64 channels x 8 rows of 16 pixels; a warp has 64 channels x 2 rows in 8 fragments
// of sums. With a 3 x 3 weight a step takes 32 bytes of channels (16 of a half type, 8 of tf32) in
// a patch of 10 x 18 pixels: 5.6 KiB of x and 18 KiB of weights for 9 * 64 * 128 multiply-adds per
// channel, 1.2 M for halves. A pixel has to keep the alignment of 32 bytes that wmma asks of each
// pointer, which costs conflicts of two on patches; weights are padded and have none. Without halo
// a step takes 64 bytes of channels, both operands padded. Shared: 33 KiB with halo, 15 without.
// The patch of the next step is loaded into registers while tensor cores work on this one.
#pragma once

#include "cuda/modulated_conv2d_epilogue.cuh"
#include "cuda/modulated_conv2d_tile.cuh"

namespace fastgan::cuda::modulated_conv2d {

namespace wmma = nvcuda::wmma;

// The types of fragments and the depth of one multiplication.
template <typename T>
struct Mma {
  using Element = T;
  static constexpr int kK = 16;
  __device__ __forceinline__ static T round(float value) { return store<T>(value); }
};
template <>
struct Mma<float> {
  using Element = wmma::precision::tf32;
  static constexpr int kK = 8;
  // Here and not after each load of a fragment: the shared memory then has what is multiplied.
  __device__ __forceinline__ static float round(float value) {
    return wmma::__float_to_tf32(value);
  }
};

template <typename T>
using Left = wmma::fragment<wmma::matrix_a, 16, 16, Mma<T>::kK, typename Mma<T>::Element,
                            wmma::row_major>;  // [out channel][channel]
template <typename T>
using Right = wmma::fragment<wmma::matrix_b, 16, 16, Mma<T>::kK, typename Mma<T>::Element,
                             wmma::col_major>;  // [channel][pixel]
template <typename T>
using Sums = wmma::fragment<wmma::accumulator, 16, 16, Mma<T>::kK, float>;

template <typename T_, int kReach_, int kFragments_, int kWarps_>
struct WmmaShape : Mma<T_> {
  using T = T_;
  static constexpr bool kMajor = true;
  static constexpr int kReach = kReach_, kTaps = kReach * kReach;
  static constexpr int kFragments = kFragments_, kRows = 2;  // of a warp: 16 channels, a row each
  static constexpr int kTileWidth = 16, kTileHeight = kWarps_ * kRows;
  static constexpr int kThreads = 32 * kWarps_, kM = 16 * kFragments;
  static constexpr int kChannels = (kReach == 1 ? 64 : 32) / static_cast<int>(sizeof(T));
  static constexpr int kPad = 16 / static_cast<int>(sizeof(T));
  static constexpr int kLoads = 4;
  static constexpr int kPatchRows = kTileHeight + kReach - 1;
  static constexpr int kPatchColumns = kTileWidth + kReach - 1;
  static constexpr int kPixelPitch = kReach == 1 ? kChannels + kPad : kChannels;
  static constexpr int kPatchSize = kPatchRows * kPatchColumns * kPixelPitch;
  static constexpr int kWeightPitch = kChannels + kPad;
};

template <typename T, typename Shape>
__global__ void __launch_bounds__(Shape::kThreads)
    modulated_conv_wmma(const T* __restrict__ x, const T* __restrict__ weight, T* __restrict__ y,
                        Params<T> p) {
  constexpr int kFragments = Shape::kFragments, kRows = Shape::kRows, kReach = Shape::kReach;
  constexpr int kLines = larger(Operands<Shape>::kLines, Staging<Shape>::kLines);
  GPU_SHARED(Line, shared, kLines);
  const Place place = place_of<Shape>(p);
  const int row = static_cast<int>(threadIdx.x) / 32 * kRows;
  Sums<T> sums[kFragments][kRows];
#pragma unroll
  for (int m = 0; m < kFragments; ++m) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) wmma::fill_fragment(sums[m][r], 0.0f);
  }

  const auto compute = [&](const T* patch, const T* weights) {
#pragma unroll 1
    for (int tap = 0; tap < Shape::kTaps; ++tap) {
      const int first = (row + tap / kReach) * Shape::kPatchColumns + tap % kReach;
#pragma unroll
      for (int c = 0; c < Shape::kChannels; c += Shape::kK) {
        Right<T> right[kRows];
#pragma unroll
        for (int r = 0; r < kRows; ++r) {
          const T* pixel = patch + (first + r * Shape::kPatchColumns) * Shape::kPixelPitch;
          wmma::load_matrix_sync(right[r], pixel + c, Shape::kPixelPitch);
        }
#pragma unroll
        for (int m = 0; m < kFragments; ++m) {
          Left<T> left;
          wmma::load_matrix_sync(left,
                                 weights + (tap * Shape::kM + m * 16) * Shape::kWeightPitch + c,
                                 Shape::kWeightPitch);
#pragma unroll
          for (int r = 0; r < kRows; ++r) wmma::mma_sync(sums[m][r], left, right[r], sums[m][r]);
        }
      }
    }
  };
  for_each_step<Shape>(x, weight, shared, place, place.y - p.pad_y, place.x - p.pad_x, p, compute);

  using S = Staging<Shape>;
  float* staged = reinterpret_cast<float*>(shared);
#pragma unroll 1
  for (int slice = 0; slice < kFragments; ++slice) {
    __syncthreads();
#pragma unroll
    for (int m = 0; m < kFragments; ++m) {
      if (m != slice) continue;
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        const int pixel = (row + r) * Shape::kTileWidth;
        if (p.y_channels_last) {
          wmma::store_matrix_sync(staged + pixel * S::kPixelPitch, sums[m][r], S::kPixelPitch,
                                  wmma::mem_col_major);
        } else {
          wmma::store_matrix_sync(staged + pixel, sums[m][r], S::kPlanePitch, wmma::mem_row_major);
        }
      }
    }
    __syncthreads();
    finish_slice<Shape>(staged, place, place.channel + slice * 16, p, y);
  }
}

}  // namespace fastgan::cuda::modulated_conv2d
