// The two operands in shared memory: a patch of x with its halo, multiplied by in_scale, and the
// weights of the channels at hand. A thread moves packs of 16 bytes of neighbouring channels.
//
// Both are kept the way the kernel reads them. Tensor cores want channels side by side (kMajor):
// patch [pixel][channels], weights [tap][out channel][channels]. Plain arithmetic wants them apart:
// patch [channel][row][column], weights [tap][channel][out channels]. kLoads packs of weights are
// in flight at once, as many as the registers of a kernel leave room for.
#pragma once

#include "cuda/modulated_conv2d_params.h"

namespace fastgan::cuda::modulated_conv2d {

// Shared memory that holds several arrays in turn, aligned as tensor cores need it.
struct alignas(32) Line {
  unsigned char bytes[32];
};
__host__ __device__ constexpr int lines(int bytes) { return (bytes + 31) / 32; }
__host__ __device__ constexpr int larger(int a, int b) { return a > b ? a : b; }

template <typename Shape>
struct Operands {
  using T = typename Shape::T;
  static constexpr int kWeights =
      Shape::kTaps * (Shape::kMajor ? Shape::kM : Shape::kChannels) * Shape::kWeightPitch;
  static constexpr int kPatchLines = lines(Shape::kPatchSize * static_cast<int>(sizeof(T)));
  static constexpr int kLines = kPatchLines + lines(kWeights * static_cast<int>(sizeof(T)));
};

// Up to one pack of neighbours `step` apart, zeros behind `count`.
template <typename T>
__device__ __forceinline__ Pack<T, kWidestPack<T>> gather(const T* from, int64_t step, int count,
                                                          bool wide) {
  constexpr int kPack = kWidestPack<T>;
  if (wide && count >= kPack) return *reinterpret_cast<const Pack<T, kPack>*>(from);
  Pack<T, kPack> pack;
#pragma unroll
  for (int i = 0; i < kPack; ++i) pack.values[i] = i < count ? from[i * step] : store<T>(0);
  return pack;
}

// Reads the patch of the next channels into registers while the block computes with those before
// (fetch), and then puts it into shared memory (commit).
template <typename Shape>
struct PatchLoader {
  using T = typename Shape::T;
  using A = acc_t<T>;
  static constexpr int kPack = kWidestPack<T>, kGroups = Shape::kChannels / kPack;
  static constexpr int kPixels = Shape::kPatchRows * Shape::kPatchColumns;
  static constexpr int kUnits = (kPixels * kGroups + Shape::kThreads - 1) / Shape::kThreads;
  static_assert(Shape::kChannels % kPack == 0, "channels come in packs");

  Pack<T, kPack> held[kUnits];

  // Lanes of a warp walk what lies side by side: pixels, or the channels of a pixel.
  __device__ __forceinline__ static void locate(int unit, bool channels_last, int* pixel,
                                                int* group) {
    *pixel = channels_last ? unit / kGroups : unit % kPixels;
    *group = channels_last ? unit % kGroups : unit / kPixels;
  }

  __device__ __forceinline__ void fetch(const T* __restrict__ x, int64_t sample, int top, int left,
                                        int channel, const Params<T>& p) {
    const T* image = x + sample * p.x_image;
#pragma unroll
    for (int k = 0; k < kUnits; ++k) {
      const int unit = k * Shape::kThreads + static_cast<int>(threadIdx.x);
      int pixel, group;
      locate(unit, p.x_channels_last, &pixel, &group);
      const int y = top + pixel / Shape::kPatchColumns, x_ = left + pixel % Shape::kPatchColumns;
      const int c = channel + group * kPack;
      const bool inside = unit < kPixels * kGroups && y >= 0 && y < p.height && x_ >= 0 &&
                          x_ < p.width && c < p.in_channels;
      const int64_t offset = (static_cast<int64_t>(y) * p.width + x_) * p.x_pixel + c * p.x_plane;
      held[k] = gather(image + (inside ? offset : 0), p.x_plane, inside ? p.in_channels - c : 0,
                       p.wide_x && p.x_channels_last);
    }
  }

  __device__ __forceinline__ void commit(T* patch, int64_t sample, int channel,
                                         const Params<T>& p) const {
#pragma unroll
    for (int k = 0; k < kUnits; ++k) {
      const int unit = k * Shape::kThreads + static_cast<int>(threadIdx.x);
      if (unit >= kPixels * kGroups) break;
      int pixel, group;
      locate(unit, p.x_channels_last, &pixel, &group);
      Pack<T, kPack> scaled;
#pragma unroll
      for (int i = 0; i < kPack; ++i) {
        const int c = channel + group * kPack + i;
        A value = load(held[k].values[i]);
        if (p.in_scale != nullptr && c < p.in_channels) {
          value *= __ldg(p.in_scale + sample * p.in_channels + c);
        }
        scaled.values[i] = Shape::round(value);
      }
      put(patch, pixel, group * kPack, scaled);
    }
  }

  __device__ __forceinline__ static void put(T* patch, int pixel, int channel,
                                             const Pack<T, kPack>& pack) {
    if constexpr (Shape::kMajor) {
      *reinterpret_cast<Pack<T, kPack>*>(patch + pixel * Shape::kPixelPitch + channel) = pack;
    } else {
      const int row = pixel / Shape::kPatchColumns, column = pixel % Shape::kPatchColumns;
#pragma unroll
      for (int i = 0; i < kPack; ++i) {
        patch[((channel + i) * Shape::kPatchRows + row) * Shape::kPatchPitch + column] =
            pack.values[i];
      }
    }
  }
};

// The weights of kM channels of the result and kChannels of x, for Shape::kTaps taps from `tap` on.
template <typename Shape>
__device__ __forceinline__ void load_weights(const typename Shape::T* __restrict__ weight,
                                             typename Shape::T* to, int out_channel, int channel,
                                             int tap, const Params<typename Shape::T>& p) {
  using T = typename Shape::T;
  constexpr int kPack = kWidestPack<T>, kGroups = Shape::kChannels / kPack;
  const int taps = p.kernel_height * p.kernel_width;
#pragma unroll(Shape::kLoads)
  for (int unit = threadIdx.x; unit < Shape::kM * Shape::kTaps * kGroups; unit += Shape::kThreads) {
    const int group = unit % kGroups, t = unit / kGroups % Shape::kTaps;
    const int m = unit / (kGroups * Shape::kTaps), c = channel + group * kPack;
    const bool inside = out_channel + m < p.out_channels && c < p.in_channels;
    const int64_t offset =
        (static_cast<int64_t>(out_channel + m) * taps + tap + t) * p.in_channels + c;
    Pack<T, kPack> pack =
        gather(weight + (inside ? offset : 0), 1, inside ? p.in_channels - c : 0, p.wide_weight);
#pragma unroll
    for (int i = 0; i < kPack; ++i) pack.values[i] = Shape::round(load(pack.values[i]));
    if constexpr (Shape::kMajor) {
      *reinterpret_cast<Pack<T, kPack>*>(to + (t * Shape::kM + m) * Shape::kWeightPitch +
                                         group * kPack) = pack;
    } else {
#pragma unroll
      for (int i = 0; i < kPack; ++i) {
        to[(t * Shape::kChannels + group * kPack + i) * Shape::kWeightPitch + m] = pack.values[i];
      }
    }
  }
}

// Runs `compute(patch, weights)` for every step of the sum: kChannels channels, times kTaps taps.
// A shape with halo meets all taps of a 3 x 3 weight in one patch; one without moves the patch from
// tap to tap of a weight of any size.
template <typename Shape, typename Compute>
__device__ __forceinline__ void for_each_step(const typename Shape::T* __restrict__ x,
                                              const typename Shape::T* __restrict__ weight,
                                              Line* shared, const Place& place, int top, int left,
                                              const Params<typename Shape::T>& p,
                                              const Compute& compute) {
  using T = typename Shape::T;
  T* patch = reinterpret_cast<T*>(shared);
  T* weights = reinterpret_cast<T*>(shared + Operands<Shape>::kPatchLines);
  const int taps = Shape::kTaps > 1 ? 1 : p.kernel_height * p.kernel_width;
  PatchLoader<Shape> loader;
  int tap = 0, channel = 0;
  loader.fetch(x, place.sample, top, left, 0, p);
  while (tap < taps) {
    __syncthreads();  // all have read the step before
    loader.commit(patch, place.sample, channel, p);
    load_weights<Shape>(weight, weights, place.channel, channel, tap, p);
    __syncthreads();
    channel += Shape::kChannels;
    if (channel >= p.in_channels) {
      channel = 0;
      ++tap;
    }
    if (tap < taps) {
      loader.fetch(x, place.sample, top + tap / p.kernel_width, left + tap % p.kernel_width,
                   channel, p);
    }
    compute(patch, weights);
  }
}

}  // namespace fastgan::cuda::modulated_conv2d
