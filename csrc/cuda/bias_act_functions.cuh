// The arithmetic of bias_act for one element: activations with two derivatives, and what an element
// becomes in the forward pass, the gradient and the second gradient.
#pragma once

#include <math.h>

#include <limits>
#include <type_traits>

#include "cuda/storage.cuh"

namespace fastgan::cuda {

// The order of the table in fastgan/reference/bias_act.py.
enum class Activation : int {
  kLinear,
  kRelu,
  kLrelu,
  kTanh,
  kSigmoid,
  kElu,
  kSelu,
  kSoftplus,
  kSwish,
};

// In the type that is computed in, so that no thread converts a double.
template <typename A>
struct Coefficients {
  Activation act;
  bool from_output;  // the gradient reads the output in place of the input
  A alpha;           // slope below zero of lrelu; elu's and selu's a
  A scale;           // selu's lambda, 1 for the others
  A gain;
  A limit;  // NaN for no clamp: every comparison with it is false
};

// clamp < 0: none.
template <typename A>
Coefficients<A> make_coefficients(Activation act, double alpha, double gain, double clamp,
                                  bool from_output = false) {
  const bool selu = act == Activation::kSelu;
  if (act == Activation::kLinear || act == Activation::kElu) alpha = 1.0;
  if (act == Activation::kRelu) alpha = 0.0;
  if (selu) alpha = 1.6732632423543772;
  const double limit = clamp < 0 ? std::numeric_limits<double>::quiet_NaN() : clamp;
  return {act,
          from_output,
          static_cast<A>(alpha),
          static_cast<A>(selu ? 1.0507009873554805 : 1.0),
          static_cast<A>(gain),
          static_cast<A>(limit)};
}

template <typename A>
__device__ __forceinline__ A sigmoid(A v) {
  return A(1) / (A(1) + exp(-v));
}

// value(v) = act(v), slope(v) = act'(v), curve(v) = act''(v).
template <typename A>
struct Piecewise {  // linear (alpha = 1) and lrelu
  __device__ static A value(A v, const Coefficients<A>& k) { return v > A(0) ? v : v * k.alpha; }
  __device__ static A slope(A v, const Coefficients<A>& k) { return v > A(0) ? A(1) : k.alpha; }
  __device__ static A curve(A, const Coefficients<A>&) { return A(0); }
};
template <typename A>
struct Relu {  // apart from Piecewise because relu(-inf) is 0
  __device__ static A value(A v, const Coefficients<A>&) { return v <= A(0) ? A(0) : v; }
  __device__ static A slope(A v, const Coefficients<A>&) { return v > A(0) ? A(1) : A(0); }
  __device__ static A curve(A, const Coefficients<A>&) { return A(0); }
};
template <typename A>
struct Tanh {
  __device__ static A value(A v, const Coefficients<A>&) { return tanh(v); }
  __device__ static A slope(A v, const Coefficients<A>&) {
    const A t = tanh(v);
    return A(1) - t * t;
  }
  __device__ static A curve(A v, const Coefficients<A>&) {
    const A t = tanh(v);
    return (A(1) - t * t) * (A(-2) * t);
  }
};
template <typename A>
struct Sigmoid {
  __device__ static A value(A v, const Coefficients<A>&) { return sigmoid(v); }
  __device__ static A slope(A v, const Coefficients<A>&) {
    const A s = sigmoid(v);
    return s * (A(1) - s);
  }
  __device__ static A curve(A v, const Coefficients<A>&) {
    const A s = sigmoid(v);
    return s * (A(1) - s) * (A(1) - A(2) * s);
  }
};
template <typename A>
struct Elu {  // elu (alpha = scale = 1) and selu
  __device__ static A value(A v, const Coefficients<A>& k) {
    return k.scale * (v > A(0) ? v : k.alpha * expm1(v));
  }
  __device__ static A slope(A v, const Coefficients<A>& k) {
    return k.scale * (v > A(0) ? A(1) : k.alpha * exp(v));
  }
  __device__ static A curve(A v, const Coefficients<A>& k) {
    return k.scale * (v > A(0) ? A(0) : k.alpha * exp(v));
  }
};
template <typename A>
struct Softplus {  // linear above 20, as torch has it
  __device__ static A value(A v, const Coefficients<A>&) { return v > A(20) ? v : log1p(exp(v)); }
  __device__ static A slope(A v, const Coefficients<A>&) { return v > A(20) ? A(1) : sigmoid(v); }
  __device__ static A curve(A v, const Coefficients<A>&) {
    const A s = sigmoid(v);
    return v > A(20) ? A(0) : s * (A(1) - s);
  }
};
template <typename A>
struct Swish {
  __device__ static A value(A v, const Coefficients<A>&) { return v * sigmoid(v); }
  __device__ static A slope(A v, const Coefficients<A>&) {
    const A s = sigmoid(v);
    return s * (A(1) + v * (A(1) - s));
  }
  __device__ static A curve(A v, const Coefficients<A>&) {
    const A s = sigmoid(v);
    return s * (A(1) - s) * (A(2) + v * (A(1) - A(2) * s));
  }
};

// What one element becomes, from its v = x + bias and up to two incoming gradients.
struct Forward {
  static constexpr int kGradients = 0;
  template <typename Act, typename A>
  __device__ __forceinline__ static A of(A v, A, A, const Coefficients<A>& k) {
    const A y = Act::value(v, k) * k.gain;
    const A floored = y < -k.limit ? -k.limit : y;
    return floored > k.limit ? k.limit : floored;
  }
};
struct Grad {
  static constexpr int kGradients = 1;
  template <typename Act, typename A>
  __device__ __forceinline__ static A of(A v, A g, A, const Coefficients<A>& k) {
    const A y = Act::value(v, k) * k.gain;
    const A slope = Act::slope(v, k) * k.gain;
    return g * ((y >= k.limit || y <= -k.limit) ? A(0) : slope);
  }
  // From the output: its sign is that of v, because gain and alpha are positive.
  template <typename A>
  __device__ __forceinline__ static A of_output(A y, A g, const Coefficients<A>& k) {
    const A slope = y > A(0) ? k.gain : k.alpha * k.gain;
    return g * ((y >= k.limit || y <= -k.limit) ? A(0) : slope);
  }
};
struct Grad2 {
  static constexpr int kGradients = 2;
  template <typename Act, typename A>
  __device__ __forceinline__ static A of(A v, A g, A h, const Coefficients<A>& k) {
    const A y = Act::value(v, k) * k.gain;
    const A curve = Act::curve(v, k) * k.gain;
    return g * h * ((y >= k.limit || y <= -k.limit) ? A(0) : curve);
  }
};

template <typename Order, typename Act, typename A, int kSize>
__device__ __forceinline__ void apply_as(A (&v)[kSize], const A (&g)[kSize], const A (&h)[kSize],
                                         const Coefficients<A>& k) {
#pragma unroll
  for (int i = 0; i < kSize; ++i) v[i] = Order::template of<Act>(v[i], g[i], h[i], k);
}

// v[i] becomes its Order. The branch is taken once for a pack and the same way by every thread.
template <typename Order, typename A, int kSize>
__device__ __forceinline__ void apply(A (&v)[kSize], const A (&g)[kSize], const A (&h)[kSize],
                                      const Coefficients<A>& k) {
  if constexpr (std::is_same_v<Order, Grad>) {
    if (k.from_output) {
#pragma unroll
      for (int i = 0; i < kSize; ++i) v[i] = Grad::of_output(v[i], g[i], k);
      return;
    }
  }
  switch (k.act) {
    case Activation::kLinear:
    case Activation::kLrelu:
      return apply_as<Order, Piecewise<A>>(v, g, h, k);
    case Activation::kRelu:
      return apply_as<Order, Relu<A>>(v, g, h, k);
    case Activation::kTanh:
      return apply_as<Order, Tanh<A>>(v, g, h, k);
    case Activation::kSigmoid:
      return apply_as<Order, Sigmoid<A>>(v, g, h, k);
    case Activation::kElu:
    case Activation::kSelu:
      return apply_as<Order, Elu<A>>(v, g, h, k);
    case Activation::kSoftplus:
      return apply_as<Order, Softplus<A>>(v, g, h, k);
    case Activation::kSwish:
      return apply_as<Order, Swish<A>>(v, g, h, k);
  }
}

}  // namespace fastgan::cuda
