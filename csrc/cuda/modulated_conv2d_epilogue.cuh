// What a sum of the convolution becomes: demodulated, with noise and bias, activated, stored.
//
// Sums go from registers to shared memory in slices of channels and from there, in runs that lie
// side by side in y, to the one place in a kernel that has the code of all activations.
#pragma once

#include "cuda/modulated_conv2d_params.h"
#include "cuda/modulated_conv2d_tile.cuh"

namespace fastgan::cuda::modulated_conv2d {

__device__ __forceinline__ int within(int left, int size) { return left < size ? left : size; }

template <typename T, int kSize>
__device__ __forceinline__ void store_run(const acc_t<T> (&v)[kSize], T* to, int64_t step,
                                          int count, bool wide) {
  constexpr int kPack = kSize < kWidestPack<T> ? kSize : kWidestPack<T>;
  if (wide && count == kSize) {
#pragma unroll
    for (int first = 0; first < kSize; first += kPack) {
      Pack<T, kPack> pack;
#pragma unroll
      for (int i = 0; i < kPack; ++i) pack.values[i] = store<T>(v[first + i]);
      *reinterpret_cast<Pack<T, kPack>*>(to + first) = pack;
    }
  } else {
#pragma unroll
    for (int i = 0; i < kSize; ++i) {
      if (i < count) to[i * step] = store<T>(v[i]);
    }
  }
}

// v: sums of `count` neighbouring pixels of one channel.
template <typename T, int kSize>
__device__ __forceinline__ void finish_pixels(acc_t<T> (&v)[kSize], int count, int64_t sample,
                                              int channel, int y, int x, const Params<T>& p,
                                              T* __restrict__ out) {
  using A = acc_t<T>;
  if (channel >= p.out_channels || y >= p.out_height || count <= 0) return;
  const A scale =
      p.out_scale == nullptr ? A(1) : __ldg(p.out_scale + sample * p.out_channels + channel);
  const A bias = p.bias == nullptr ? A(0) : __ldg(p.bias + channel);
  const int64_t pixel = static_cast<int64_t>(y) * p.out_width + x;
#pragma unroll
  for (int i = 0; i < kSize; ++i) {
    v[i] *= scale;
    if (p.noise != nullptr && i < count)
      v[i] += __ldg(p.noise + sample * p.noise_image + pixel + i);
    v[i] += bias;
  }
  const A none[kSize] = {};
  apply<Forward>(v, none, none, p.k);
  store_run<T>(v, out + sample * p.y_image + channel * p.y_plane + pixel * p.y_pixel, p.y_pixel,
               count, p.wide_y && !p.y_channels_last);
}

// v: sums of neighbouring channels of one pixel.
template <typename T, int kSize>
__device__ __forceinline__ void finish_channels(acc_t<T> (&v)[kSize], int64_t sample, int channel,
                                                int y, int x, const Params<T>& p,
                                                T* __restrict__ out) {
  using A = acc_t<T>;
  if (channel >= p.out_channels || y >= p.out_height || x >= p.out_width) return;
  const int count = p.out_channels - channel < kSize ? p.out_channels - channel : kSize;
  const int64_t pixel = static_cast<int64_t>(y) * p.out_width + x;
  const A noise = p.noise == nullptr ? A(0) : __ldg(p.noise + sample * p.noise_image + pixel);
#pragma unroll
  for (int i = 0; i < kSize; ++i) {
    const int o = channel + (i < count ? i : 0);
    if (p.out_scale != nullptr) v[i] *= __ldg(p.out_scale + sample * p.out_channels + o);
    v[i] += noise;
    if (p.bias != nullptr) v[i] += __ldg(p.bias + o);
  }
  const A none[kSize] = {};
  apply<Forward>(v, none, none, p.k);
  store_run<T>(v, out + sample * p.y_image + pixel * p.y_pixel + channel * p.y_plane, p.y_plane,
               count, p.wide_y && p.y_channels_last);
}

// A slice of the tile in shared memory: [channel][pixels] or, for channels_last, [pixel][channels].
template <typename Shape>
struct Staging {
  using A = acc_t<typename Shape::T>;
  static constexpr int kRun = 8, kSlice = Shape::kM < 16 ? Shape::kM : 16;
  static constexpr int kPixels = Shape::kTileWidth * Shape::kTileHeight;
  static constexpr int kPlanePitch = kPixels + 4, kPixelPitch = kSlice + 4;
  static constexpr int kPlanar = kSlice * kPlanePitch, kLast = kPixels * kPixelPitch;
  static constexpr int kLines =
      lines((kPlanar > kLast ? kPlanar : kLast) * static_cast<int>(sizeof(A)));
  static_assert(kSlice % kRun == 0 && Shape::kTileWidth % kRun == 0, "runs fill the slice");
};

// A run from shared memory, its begin aligned to 16 bytes or the whole of it.
template <typename A, int kSize>
__device__ __forceinline__ void read_run(const A* from, A (&to)[kSize]) {
  constexpr int kPack = kSize < kWidestPack<A> ? kSize : kWidestPack<A>;
#pragma unroll
  for (int first = 0; first < kSize; first += kPack) {
    if (first + kPack <= kSize) {
      const auto pack = *reinterpret_cast<const Pack<A, kPack>*>(from + first);
#pragma unroll
      for (int i = 0; i < kPack && first + i < kSize; ++i) to[first + i] = pack.values[i];
    } else {
#pragma unroll
      for (int i = first; i < kSize; ++i) to[i] = from[i];
    }
  }
}

// Finishes the slice that begins with channel `first` of the result.
template <typename Shape>
__device__ __forceinline__ void finish_slice(const acc_t<typename Shape::T>* staged,
                                             const Place& place, int first,
                                             const Params<typename Shape::T>& p,
                                             typename Shape::T* __restrict__ y) {
  using S = Staging<Shape>;
  typename S::A v[S::kRun];
#pragma unroll 1
  for (int unit = threadIdx.x; unit < S::kSlice * S::kPixels / S::kRun; unit += Shape::kThreads) {
    int channel, pixel;
    if (p.y_channels_last) {
      channel = unit % (S::kSlice / S::kRun) * S::kRun;
      pixel = unit / (S::kSlice / S::kRun);
      read_run(staged + pixel * S::kPixelPitch + channel, v);
    } else {
      pixel = unit % (S::kPixels / S::kRun) * S::kRun;
      channel = unit / (S::kPixels / S::kRun);
      read_run(staged + channel * S::kPlanePitch + pixel, v);
    }
    const int oy = place.y + pixel / Shape::kTileWidth, ox = place.x + pixel % Shape::kTileWidth;
    if (p.y_channels_last) {
      finish_channels(v, place.sample, first + channel, oy, ox, p, y);
    } else {
      finish_pixels(v, within(p.out_width - ox, S::kRun), place.sample, first + channel, oy, ox, p,
                    y);
    }
  }
}

}  // namespace fastgan::cuda::modulated_conv2d
