// noise_bias_act: noise, bias, activation, gain and clamp in one pass over images. Raw pointers, no
// torch. The gradients are those of bias_act.
//
// Images are rows of neighbours in memory: pixels of a channel (planar) or channels of a pixel
// (channels_last). A block of 256 threads loads and stores 16 bytes a thread; no shared memory.
#pragma once

#include "cuda/bias_act_functions.cuh"

namespace fastgan::cuda::noise_bias_act {

constexpr int kThreads = 256;
constexpr int kPlanes = 16;  // channels that share what a thread read of the noise
constexpr int64_t kMaxBlocks = int64_t{1} << 20;  // the rest by a loop

struct Images {
  int64_t samples, channels, pixels;
  bool channels_last;
  bool same_noise;  // one plane of noise for all samples

  __host__ __device__ int64_t numel() const { return samples * channels * pixels; }
  __host__ __device__ int64_t inner() const { return channels_last ? channels : pixels; }
};

// What a row adds: one number, and one for each place in the row. Null pointers add zero.
template <typename T>
struct Addends {
  const acc_t<T>* noise;  // [samples or 1, pixels]
  const T* bias;          // [channels]

  // The number that all elements of the row get.
  __device__ __forceinline__ acc_t<T> of_row(int64_t row, const Images& s) const {
    if (s.channels_last) {
      if (noise == nullptr) return 0;
      return noise[s.same_noise ? row - divide(row, s.pixels) * s.pixels : row];
    }
    return bias == nullptr ? acc_t<T>(0) : load(bias[row - divide(row, s.channels) * s.channels]);
  }
  // Where the noise of a planar row begins.
  __device__ __forceinline__ int64_t noise_of_row(int64_t row, const Images& s) const {
    return s.same_noise ? 0 : divide(row, s.channels) * s.pixels;
  }
};

// v[i] += the addends of element first + i. `whole`: the pack lies in one row, as packs do whose
// size divides the rows.
template <int kPack, typename T>
__device__ __forceinline__ void add(const Addends<T>& addends, const Images& s, int64_t first,
                                    int count, acc_t<T> (&v)[kPack]) {
  int64_t row = divide(first, s.inner()), at = first - row * s.inner();
  acc_t<T> down = addends.of_row(row, s);
  int64_t noise = s.channels_last ? 0 : addends.noise_of_row(row, s);
#pragma unroll
  for (int i = 0; i < kPack; ++i) {
    if (i >= count) break;
    if (at == s.inner()) {
      at = 0;
      down = addends.of_row(++row, s);
      if (!s.channels_last) noise = addends.noise_of_row(row, s);
    }
    v[i] += down;
    if (s.channels_last) {
      if (addends.bias != nullptr) v[i] += load(addends.bias[at]);
    } else if (addends.noise != nullptr) {
      v[i] += addends.noise[noise + at];
    }
    ++at;
  }
}

// wide: x and y are aligned to 16 bytes.
template <typename T, int kBlock>
__global__ void __launch_bounds__(kBlock, 4)
    forward(const T* __restrict__ x, const acc_t<T>* __restrict__ noise, const T* __restrict__ bias,
            T* __restrict__ y, Images s, bool wide, Coefficients<acc_t<T>> k) {
  using A = acc_t<T>;
  constexpr int kPack = kWidestPack<T>;
  const Addends<T> addends{noise, bias};
  const int64_t numel = s.numel(), step = static_cast<int64_t>(gridDim.x) * kBlock * kPack;
  int64_t i = (static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x) * kPack;
  for (; i < numel; i += step) {
    const int count = static_cast<int>(smaller(kPack, numel - i));
    A v[kPack] = {}, unused[kPack] = {};
    if (wide) {
      load_pack<kPack>(x + i, count, v);
    } else {
#pragma unroll
      for (int n = 0; n < kPack; ++n) v[n] = n < count ? load(x[i + n]) : A(0);
    }
    add<kPack>(addends, s, i, count, v);
    apply<Forward>(v, unused, unused, k);
    if (wide) {
      store_pack<kPack>(y + i, count, v);
    } else {
#pragma unroll
      for (int n = 0; n < kPack; ++n) {
        if (n < count) y[i + n] = store<T>(v[n]);
      }
    }
  }
}

// The same for planar images with noise: a thread has one pack of pixels of up to kPlanes channels,
// so that noise, which is as wide as float32, is read once for all of them.
template <typename T, int kBlock>
__global__ void __launch_bounds__(kBlock, 4)
    forward_planes(const T* __restrict__ x, const acc_t<T>* __restrict__ noise,
                   const T* __restrict__ bias, T* __restrict__ y, Images s,
                   Coefficients<acc_t<T>> k) {
  using A = acc_t<T>;
  constexpr int kPack = kWidestPack<T>, kWide = kWidestPack<A>;
  const int64_t packs = s.pixels / kPack, groups = ceil_div(s.channels, kPlanes);
  const int64_t units = s.samples * groups * packs, step = static_cast<int64_t>(gridDim.x) * kBlock;
  int64_t unit = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  for (; unit < units; unit += step) {
    const int64_t row = divide(unit, packs), pixel = (unit - row * packs) * kPack;
    const int64_t sample = divide(row, groups), first = (row - sample * groups) * kPlanes;
    const A* from = noise + (s.same_noise ? 0 : sample * s.pixels) + pixel;
    A added[kPack];
#pragma unroll
    for (int n = 0; n < kPack; n += kWide) {
      A part[kWide];
      load_pack<kWide>(from + n, kWide, part);
#pragma unroll
      for (int j = 0; j < kWide; ++j) added[n + j] = part[j];
    }
    const int64_t end = smaller(first + kPlanes, s.channels);
#pragma unroll 1
    for (int64_t channel = first; channel < end; ++channel) {
      const int64_t at = (sample * s.channels + channel) * s.pixels + pixel;
      const A offset = bias == nullptr ? A(0) : load(bias[channel]);
      A v[kPack], unused[kPack] = {};
      load_pack<kPack>(x + at, kPack, v);
#pragma unroll
      for (int n = 0; n < kPack; ++n) v[n] += added[n] + offset;
      apply<Forward>(v, unused, unused, k);
      store_pack<kPack>(y + at, kPack, v);
    }
  }
}

// y = clamp(gain act(x + noise + bias)). noise [N or 1, 1, H, W] is of the type that is computed
// in, bias [C] of x's; either may be null. x and y are dense in the same layout. Nothing is
// launched for an empty x. Returns the number of launches.
template <typename T, int kBlock = kThreads>
int launch(const T* x, const acc_t<T>* noise, const T* bias, T* y, const Images& images,
           const Coefficients<acc_t<T>>& k, cudaStream_t stream, int64_t max_blocks = kMaxBlocks) {
  if (images.numel() == 0) return 0;
  const bool wide = is_aligned(x) && is_aligned(y);
  if (noise != nullptr && !images.channels_last && wide && is_aligned(noise) &&
      images.pixels % kWidestPack<T> == 0) {
    const int64_t groups = images.samples * ceil_div(images.channels, kPlanes);
    const int64_t blocks = ceil_div(groups * (images.pixels / kWidestPack<T>), kBlock);
    GPU_LAUNCH((forward_planes<T, kBlock>),
               dim3(static_cast<unsigned>(smaller(blocks, max_blocks))), dim3(kBlock), 0, stream, x,
               noise, bias, y, images, k);
    return 1;
  }
  const int64_t packs = ceil_div(images.numel(), int64_t{kBlock} * kWidestPack<T>);
  const dim3 grid(static_cast<unsigned>(smaller(packs, max_blocks)));
  GPU_LAUNCH((forward<T, kBlock>), grid, dim3(kBlock), 0, stream, x, noise, bias, y, images, wide,
             k);
  return 1;
}

}  // namespace fastgan::cuda::noise_bias_act
