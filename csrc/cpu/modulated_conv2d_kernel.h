// Loops of modulated_conv2d on raw pointers: everything of it but the convolution.
//
// y = x * scale[n, c] + noise[n, pixel], and its gradient. Scale, noise and sums are of the type
// that x is computed in. Work is split into units of (sample, block of pixels), a split that does
// not depend on the number of threads, so that sums are the same bits for any.
#pragma once

#include "common/dtype.h"
#include "cpu/isa.h"

namespace fastgan::cpu {

struct ScaleParams {
  int64_t channels;
  int64_t pixels;  // height * width
  int64_t block;   // pixels of a unit; the last of a sample may be shorter
  int64_t units_per_sample;
};

struct ScaleUnit {
  int64_t sample;
  int64_t first;  // pixel
  int64_t size;

  FASTGAN_INLINE ScaleUnit(int64_t unit, const ScaleParams& p)
      : sample(unit / p.units_per_sample), first((unit % p.units_per_sample) * p.block) {
    size = p.pixels - first < p.block ? p.pixels - first : p.block;
  }
};

template <typename T, bool kChannelsLast, bool kNoise>
struct ScaleLoop {
  using A = acc_t<T>;

  FASTGAN_INLINE static void planar(const T* __restrict x, const A* scale, const A* noise,
                                    T* __restrict y, const ScaleUnit& unit, const ScaleParams& p) {
    const A* __restrict add = noise + (kNoise ? unit.sample * p.pixels + unit.first : 0);
    for (int64_t c = 0; c < p.channels; ++c) {
      const int64_t row = unit.sample * p.channels + c;
      const int64_t offset = row * p.pixels + unit.first;
      const A factor = scale[row];
#pragma omp simd
      for (int64_t i = 0; i < unit.size; ++i) {
        const A value = load(x[offset + i]) * factor;
        y[offset + i] = store<T>(kNoise ? value + add[i] : value);
      }
    }
  }

  FASTGAN_INLINE static void channels_last(const T* __restrict x, const A* scale, const A* noise,
                                           T* __restrict y, const ScaleUnit& unit,
                                           const ScaleParams& p) {
    const A* __restrict factor = scale + unit.sample * p.channels;
    for (int64_t i = 0; i < unit.size; ++i) {
      const int64_t pixel = unit.sample * p.pixels + unit.first + i;
      const int64_t offset = pixel * p.channels;
      const A add = kNoise ? noise[pixel] : A(0);
#pragma omp simd
      for (int64_t c = 0; c < p.channels; ++c) {
        y[offset + c] = store<T>(load(x[offset + c]) * factor[c] + add);
      }
    }
  }

  FASTGAN_INLINE static void run(const T* x, const A* scale, const A* noise, T* y, int64_t begin,
                                 int64_t end, ScaleParams p) {
    for (int64_t u = begin; u < end; ++u) {
      const ScaleUnit unit(u, p);
      if (kChannelsLast) {
        channels_last(x, scale, noise, y, unit, p);
      } else {
        planar(x, scale, noise, y, unit, p);
      }
    }
  }
};

// grad_x = g * scale; sums[unit, c] = sum of g * x over the unit's pixels; grad_noise[n, pixel] =
// sum of g over the channels.
template <typename T, bool kChannelsLast, bool kNoise>
struct ScaleGradLoop {
  using A = acc_t<T>;

  FASTGAN_INLINE static void planar(const T* __restrict g, const T* __restrict x, const A* scale,
                                    T* __restrict grad_x, A* sums, A* grad_noise,
                                    const ScaleUnit& unit, const ScaleParams& p) {
    A* __restrict add = grad_noise + (kNoise ? unit.sample * p.pixels + unit.first : 0);
    for (int64_t c = 0; c < p.channels; ++c) {
      const int64_t row = unit.sample * p.channels + c;
      const int64_t offset = row * p.pixels + unit.first;
      const A factor = scale[row];
      A sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < unit.size; ++i) {
        const A incoming = load(g[offset + i]);
        grad_x[offset + i] = store<T>(incoming * factor);
        sum += incoming * load(x[offset + i]);
        if (kNoise) add[i] += incoming;
      }
      sums[c] = sum;
    }
  }

  FASTGAN_INLINE static void channels_last(const T* __restrict g, const T* __restrict x,
                                           const A* scale, T* __restrict grad_x, A* __restrict sums,
                                           A* grad_noise, const ScaleUnit& unit,
                                           const ScaleParams& p) {
    const A* __restrict factor = scale + unit.sample * p.channels;
    for (int64_t i = 0; i < unit.size; ++i) {
      const int64_t pixel = unit.sample * p.pixels + unit.first + i;
      const int64_t offset = pixel * p.channels;
      A total = 0;
#pragma omp simd reduction(+ : total)
      for (int64_t c = 0; c < p.channels; ++c) {
        const A incoming = load(g[offset + c]);
        grad_x[offset + c] = store<T>(incoming * factor[c]);
        sums[c] += incoming * load(x[offset + c]);
        if (kNoise) total += incoming;
      }
      if (kNoise) grad_noise[pixel] = total;
    }
  }

  // sums and grad_noise start at zero.
  FASTGAN_INLINE static void run(const T* g, const T* x, const A* scale, T* grad_x, A* sums,
                                 A* grad_noise, int64_t begin, int64_t end, ScaleParams p) {
    for (int64_t u = begin; u < end; ++u) {
      const ScaleUnit unit(u, p);
      if (kChannelsLast) {
        channels_last(g, x, scale, grad_x, sums + u * p.channels, grad_noise, unit, p);
      } else {
        planar(g, x, scale, grad_x, sums + u * p.channels, grad_noise, unit, p);
      }
    }
  }
};

}  // namespace fastgan::cpu
