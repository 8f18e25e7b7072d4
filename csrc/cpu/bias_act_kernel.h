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
  int64_t row;  // elements of a row: inner, or channels for channels_last
  int64_t rows;
  int64_t rows_per_unit;  // channels_last only
  int64_t units_per_row;  // 0 for channels_last
  int64_t unit_size;      // planar only: elements of a unit (the last of a row may be shorter)
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
  static constexpr int kGradients = 0;
  static constexpr bool kSum = false;
  template <typename A>
  FASTGAN_INLINE static A of(A v, A, A, A alpha, A scale, A gain, A limit) {
    const A y = Act<A>::value(v, alpha, scale) * gain;
    const A floored = y < -limit ? -limit : y;
    return floored > limit ? limit : floored;
  }
};
template <template <typename> class Act>
struct GradOf {
  static constexpr int kGradients = 1;
  static constexpr bool kSum = true;
  template <typename A>
  FASTGAN_INLINE static A of(A v, A g, A, A alpha, A scale, A gain, A limit) {
    const A y = Act<A>::value(v, alpha, scale) * gain;
    const A slope = Act<A>::slope(v, alpha, scale) * gain;
    return g * ((y >= limit || y <= -limit) ? A(0) : slope);
  }
};
// From the output: its sign is that of v, because gain and alpha are positive.
struct GradFromOutput {
  static constexpr int kGradients = 1;
  static constexpr bool kSum = true;
  template <typename A>
  FASTGAN_INLINE static A of(A y, A g, A, A alpha, A, A gain, A limit) {
    const A slope = y > A(0) ? gain : alpha * gain;
    return g * ((y >= limit || y <= -limit) ? A(0) : slope);
  }
};
template <template <typename> class Act>
struct Grad2Of {
  static constexpr int kGradients = 2;
  static constexpr bool kSum = false;
  template <typename A>
  FASTGAN_INLINE static A of(A v, A g, A h, A alpha, A scale, A gain, A limit) {
    const A y = Act<A>::value(v, alpha, scale) * gain;
    const A curve = Act<A>::curve(v, alpha, scale) * gain;
    return g * h * ((y >= limit || y <= -limit) ? A(0) : curve);
  }
};

// out[i] = Element(source[i] + bias, g[i], h[i]). The only loops that depend on the activation,
// compiled for float and double: half types are converted around them.
// kAlong: the bias runs along the loop, bias[i] with sums[i] += out[i]; else it is bias[0] with
// sums[0] += the sum of out. Without kSum the sums are left alone.
template <typename Element, typename A, bool kAlong>
struct BiasActLoop {
  FASTGAN_INLINE static void run(const A* __restrict source, const A* __restrict g,
                                 const A* __restrict h, const A* __restrict bias, A* __restrict out,
                                 A* __restrict sums, int64_t size, double alpha, double scale,
                                 double gain, double limit) {
    const A alpha_ = A(alpha), scale_ = A(scale), gain_ = A(gain), limit_ = A(limit);
    const A first = bias[0];
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < size; ++i) {
      const A incoming = Element::kGradients > 0 ? g[i] : A(0);
      const A second = Element::kGradients > 1 ? h[i] : A(0);
      const A value = Element::template of<A>(source[i] + (kAlong ? bias[i] : first), incoming,
                                              second, alpha_, scale_, gain_, limit_);
      out[i] = value;
      if (Element::kSum && kAlong) sums[i] += value;
      if (Element::kSum && !kAlong) sum += value;
    }
    if (Element::kSum && !kAlong) sums[0] += sum;
  }
};

template <typename A>
using BiasActFunction = void (*)(const A*, const A*, const A*, const A*, A*, A*, int64_t, double,
                                 double, double, double);

template <typename T>
struct LoadLoop {
  FASTGAN_INLINE static void run(const T* __restrict from, acc_t<T>* __restrict to, int64_t size) {
    for (int64_t i = 0; i < size; ++i) to[i] = load(from[i]);
  }
};

template <typename T>
struct StoreLoop {
  FASTGAN_INLINE static void run(const acc_t<T>* __restrict from, T* __restrict to, int64_t size) {
    for (int64_t i = 0; i < size; ++i) to[i] = store<T>(from[i]);
  }
};

}  // namespace fastgan::cpu
