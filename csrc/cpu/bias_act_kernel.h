// Loops of bias_act on raw pointers: no torch, no allocation.
//
// Memory is seen as [outer, channels, inner] in the order in which it lies, whatever the order of
// the dimensions: inner = 1 is channels_last. Work is split into units of about kUnit elements, a
// split that does not depend on the number of threads, so that sums are the same bits for any.
#pragma once

#include "common/math.h"
#include "cpu/isa.h"

namespace fastgan::cpu {

struct BiasActParams {
  int64_t channels;
  int64_t inner;  // elements between neighbours along the bias dimension
  int64_t rows;   // inner > 1: outer * channels rows of `inner`; else outer rows of channels
  int64_t rows_per_unit;  // channels_last only
  int64_t units_per_row;  // 0 for channels_last
  int64_t unit_size;      // inner > 1 only: elements of a unit (the last of a row may be shorter)
  double alpha;           // slope below zero of Piecewise; elu's and selu's a
  double scale;           // selu's lambda, 1 for the others
  double gain;
  double limit;  // NaN for no clamp: every comparison with it is false
};

// Activations: value(v) = act(v), slope(v) = act'(v), curve(v) = act''(v).
template <typename A>
struct Piecewise {  // linear (alpha = 1) and lrelu
  FASTGAN_INLINE static A value(A v, A alpha, A) { return v * (v > A(0) ? A(1) : alpha); }
  FASTGAN_INLINE static A slope(A v, A alpha, A) { return v > A(0) ? A(1) : alpha; }
  FASTGAN_INLINE static A curve(A, A, A) { return A(0); }
};
template <typename A>
struct Relu {  // apart from Piecewise because relu(-inf) is 0
  FASTGAN_INLINE static A value(A v, A, A) { return v <= A(0) ? A(0) : v; }
  FASTGAN_INLINE static A slope(A v, A, A) { return v > A(0) ? A(1) : A(0); }
  FASTGAN_INLINE static A curve(A, A, A) { return A(0); }
};
template <typename A>
struct Tanh {
  FASTGAN_INLINE static A value(A v, A, A) { return fast_tanh(v); }
  FASTGAN_INLINE static A slope(A v, A, A) {
    const A t = fast_tanh(v);
    return A(1) - t * t;
  }
  FASTGAN_INLINE static A curve(A v, A, A) {
    const A t = fast_tanh(v);
    return (A(1) - t * t) * (A(-2) * t);
  }
};
template <typename A>
struct Sigmoid {
  FASTGAN_INLINE static A value(A v, A, A) { return fast_sigmoid(v); }
  FASTGAN_INLINE static A slope(A v, A, A) {
    const A s = fast_sigmoid(v);
    return s * (A(1) - s);
  }
  FASTGAN_INLINE static A curve(A v, A, A) {
    const A s = fast_sigmoid(v);
    return s * (A(1) - s) * (A(1) - A(2) * s);
  }
};
template <typename A>
struct Elu {  // elu (alpha = scale = 1) and selu
  FASTGAN_INLINE static A value(A v, A alpha, A scale) {
    const A negative = fast_expm1(v > A(0) ? A(0) : v) * alpha;
    return scale * (v > A(0) ? v : negative);
  }
  FASTGAN_INLINE static A slope(A v, A alpha, A scale) {
    const A negative = fast_exp(v > A(0) ? A(0) : v) * alpha;
    return scale * (v > A(0) ? A(1) : negative);
  }
  FASTGAN_INLINE static A curve(A v, A alpha, A scale) {
    const A negative = fast_exp(v > A(0) ? A(0) : v) * alpha;
    return scale * (v > A(0) ? A(0) : negative);
  }
};
template <typename A>
struct Softplus {  // linear above 20, as torch has it
  FASTGAN_INLINE static A value(A v, A, A) {
    return v > A(20) ? v : std::log1p(fast_exp(v > A(20) ? A(20) : v));
  }
  FASTGAN_INLINE static A slope(A v, A, A) { return v > A(20) ? A(1) : fast_sigmoid(v); }
  FASTGAN_INLINE static A curve(A v, A, A) {
    const A s = fast_sigmoid(v);
    return v > A(20) ? A(0) : s * (A(1) - s);
  }
};
template <typename A>
struct Swish {
  FASTGAN_INLINE static A value(A v, A, A) { return v * fast_sigmoid(v); }
  FASTGAN_INLINE static A slope(A v, A, A) {
    const A s = fast_sigmoid(v);
    return s * (A(1) + v * (A(1) - s));
  }
  FASTGAN_INLINE static A curve(A v, A, A) {
    const A s = fast_sigmoid(v);
    return s * (A(1) - s) * (A(2) + v * (A(1) - A(2) * s));
  }
};

// What one element becomes, from its v and up to two incoming gradients.
template <template <typename> class Act>
struct ForwardOf {
  template <typename A>
  FASTGAN_INLINE static A of(A v, A, A, A alpha, A scale, A gain, A limit) {
    const A y = Act<A>::value(v, alpha, scale) * gain;
    return y > limit ? limit : (y < -limit ? -limit : y);
  }
};
template <template <typename> class Act>
struct GradOf {
  template <typename A>
  FASTGAN_INLINE static A of(A v, A g, A, A alpha, A scale, A gain, A limit) {
    const A y = Act<A>::value(v, alpha, scale) * gain;
    const A slope = Act<A>::slope(v, alpha, scale) * gain;
    return g * ((y >= limit || y <= -limit) ? A(0) : slope);
  }
};
// From the output: its sign is that of v, because gain and alpha are positive.
struct GradFromOutput {
  template <typename A>
  FASTGAN_INLINE static A of(A y, A g, A, A alpha, A, A gain, A limit) {
    const A slope = y > A(0) ? gain : alpha * gain;
    return g * ((y >= limit || y <= -limit) ? A(0) : slope);
  }
};
template <template <typename> class Act>
struct Grad2Of {
  template <typename A>
  FASTGAN_INLINE static A of(A v, A g, A h, A alpha, A scale, A gain, A limit) {
    const A y = Act<A>::value(v, alpha, scale) * gain;
    const A curve = Act<A>::curve(v, alpha, scale) * gain;
    return g * h * ((y >= limit || y <= -limit) ? A(0) : curve);
  }
};

// out[i] = Element(source[i] + bias, g[i], h[i]) over the units [begin, end). g, h, bias and sums
// may be null as Element and the caller have it. sums: one value per unit when inner > 1, one row
// of `channels` values per unit when inner = 1.
template <typename Element, typename T, int kGradients, bool kSum>
struct BiasActLoop {
  using A = acc_t<T>;

  FASTGAN_INLINE static A at(const T* source, const T* g, const T* h, int64_t i, A b,
                             const BiasActParams& p) {
    const A incoming = kGradients > 0 ? load(g[i]) : A(0);
    const A second = kGradients > 1 ? load(h[i]) : A(0);
    return Element::template of<A>(load(source[i]) + b, incoming, second, A(p.alpha), A(p.scale),
                                   A(p.gain), A(p.limit));
  }

  FASTGAN_INLINE static void planar(const T* __restrict source, const T* __restrict g,
                                    const T* __restrict h, const T* bias, T* __restrict out,
                                    A* sums, int64_t begin, int64_t end, const BiasActParams& p) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t row = unit / p.units_per_row;
      const int64_t first = (unit % p.units_per_row) * p.unit_size;
      const int64_t size = p.inner - first < p.unit_size ? p.inner - first : p.unit_size;
      const int64_t offset = row * p.inner + first;
      const A b = bias == nullptr ? A(0) : load(bias[row % p.channels]);
      A sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = offset; i < offset + size; ++i) {
        const T rounded = store<T>(at(source, g, h, i, b, p));
        out[i] = rounded;
        if (kSum) sum += load(rounded);
      }
      if (kSum) sums[unit] = sum;
    }
  }

  FASTGAN_INLINE static void channels_last(const T* __restrict source, const T* __restrict g,
                                           const T* __restrict h, const T* __restrict bias,
                                           T* __restrict out, A* __restrict sums, int64_t begin,
                                           int64_t end, const BiasActParams& p) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t last = (unit + 1) * p.rows_per_unit;
      A* __restrict sum = sums + (kSum ? unit * p.channels : 0);
      for (int64_t row = unit * p.rows_per_unit; row < (last < p.rows ? last : p.rows); ++row) {
        const int64_t offset = row * p.channels;
#pragma omp simd
        for (int64_t c = 0; c < p.channels; ++c) {
          const A b = bias == nullptr ? A(0) : load(bias[c]);
          const T rounded = store<T>(at(source, g, h, offset + c, b, p));
          out[offset + c] = rounded;
          if (kSum) sum[c] += load(rounded);
        }
      }
    }
  }

  FASTGAN_INLINE static void run(const T* source, const T* g, const T* h, const T* bias, T* out,
                                 A* sums, int64_t begin, int64_t end, BiasActParams p) {
    if (p.units_per_row == 0) {
      channels_last(source, g, h, bias, out, sums, begin, end, p);
    } else {
      planar(source, g, h, bias, out, sums, begin, end, p);
    }
  }
};

}  // namespace fastgan::cpu
