// Minimal filtering (Winograd, Toom-Cook) in one dimension: fewer products than taps x outputs, by
// evaluating polynomials at points. A 2-D algorithm is the nesting of two of them. Every struct has
//   data:   inputs -> points         out: products at the points -> outputs
//   weight: taps -> points, in double, once
//   out_adjoint: the transpose of out, for the gradient of the weight
// and with P points a 2-D tile takes P x P products per channel pair. The points are small exact
// binary fractions: they decide the rounding error. Where gradients need the transposed matrices,
// there are data_adjoint (points -> inputs) and out_adjoint (outputs -> points). Only in a stamped
// region.
//
// Source: Winograd 1980, "Arithmetic Complexity of Computations"; Lavin and Gray 2016, "Fast
// Algorithms for Convolutional Neural Networks".
#pragma once

#include "cpu/vector.h"

namespace fastgan::cpu::FASTGAN_STAMPED {

// Correlation with 3 taps: y[i] = sum_k w[k] x[i + k].

// One output from 3 inputs: no saving; for images of few pixels.
struct Conv1 {
  static constexpr int kOut = 1, kIn = 3, kPoints = 3;
  static inline void data(const Vec* x, Vec* p) { p[0] = x[0], p[1] = x[1], p[2] = x[2]; }
  static inline void out(const Vec* m, Vec* y) { y[0] = m[0] + m[1] + m[2]; }
  static void weight(const double* w, double* p) { p[0] = w[0], p[1] = w[1], p[2] = w[2]; }
};

// F(2, 3): 2 outputs from 4 inputs, points 0, 1, -1, infinity.
struct Conv2 {
  static constexpr int kOut = 2, kIn = 4, kPoints = 4;
  static inline void data(const Vec* x, Vec* p) {
    p[0] = x[0] - x[2];
    p[1] = x[1] + x[2];
    p[2] = x[2] - x[1];
    p[3] = x[1] - x[3];
  }
  static inline void out(const Vec* m, Vec* y) {
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = (m[1] - m[2]) - m[3];
  }
  static inline void out_adjoint(const Vec* y, Vec* m) {
    m[0] = y[0];
    m[1] = y[0] + y[1];
    m[2] = y[0] - y[1];
    m[3] = -y[1];
  }
  static void weight(const double* w, double* p) {
    p[0] = w[0];
    p[1] = (w[0] + w[1] + w[2]) / 2;
    p[2] = (w[0] - w[1] + w[2]) / 2;
    p[3] = w[2];
  }
};

// F(4, 3): 4 outputs from 6 inputs, points 0, a, -a, b, -b, infinity with a = 3/4, b = 3/2: a third
// to a half of the rounding error of the textbook's 1 and 2.
struct Conv4 {
  static constexpr int kOut = 4, kIn = 6, kPoints = 6;
  static constexpr float a = 0.75f, b = 1.5f, a2 = a * a, b2 = b * b;
  // Two points at a time: those that share their arithmetic, and the two ends.
  static constexpr int pairs[3][2] = {{1, 2}, {3, 4}, {0, 5}};
  template <int N>
  static inline void data_pair(const Vec* x, Vec* p) {
    if constexpr (N == 2) {
      p[0] = fma(splat(a2 * b2), x[0], fnma(splat(a2 + b2), x[2], x[4]));
      p[5] = fma(splat(a2 * b2), x[1], fnma(splat(a2 + b2), x[3], x[5]));
    } else {
      constexpr float point = N == 0 ? a : b, other2 = N == 0 ? b2 : a2;
      const Vec even = fnma(splat(other2), x[2], x[4]), odd = fnma(splat(other2), x[1], x[3]);
      p[pairs[N][0]] = fma(splat(point), odd, even);
      p[pairs[N][1]] = fnma(splat(point), odd, even);
    }
  }
  static inline void data(const Vec* x, Vec* p) {
    data_pair<0>(x, p), data_pair<1>(x, p), data_pair<2>(x, p);
  }
  static inline void out(const Vec* m, Vec* y) {
    const Vec sum_a = m[1] + m[2], diff_a = m[1] - m[2], sum_b = m[3] + m[4], diff_b = m[3] - m[4];
    y[0] = m[0] + sum_a + sum_b;
    y[1] = fma(splat(a), diff_a, splat(b) * diff_b);
    y[2] = fma(splat(a2), sum_a, splat(b2) * sum_b);
    y[3] = fma(splat(a * a2), diff_a, fma(splat(b * b2), diff_b, m[5]));
  }
  static inline void out_adjoint(const Vec* y, Vec* m) {
    const Vec even_a = fma(splat(a2), y[2], y[0]), even_b = fma(splat(b2), y[2], y[0]);
    const Vec odd_a = fma(splat(a * a2), y[3], splat(a) * y[1]);
    const Vec odd_b = fma(splat(b * b2), y[3], splat(b) * y[1]);
    m[0] = y[0];
    m[1] = even_a + odd_a;
    m[2] = even_a - odd_a;
    m[3] = even_b + odd_b;
    m[4] = even_b - odd_b;
    m[5] = y[3];
  }
  static void weight(const double* w, double* p) {
    const double na = 2.0 * a2 * (a2 - b2), nb = 2.0 * b2 * (b2 - a2);
    p[0] = w[0] / (a2 * b2);
    p[1] = (w[0] + w[1] * a + w[2] * a2) / na;
    p[2] = (w[0] - w[1] * a + w[2] * a2) / na;
    p[3] = (w[0] + w[1] * b + w[2] * b2) / nb;
    p[4] = (w[0] - w[1] * b + w[2] * b2) / nb;
    p[5] = w[2];
  }
};

// Transposed convolution with 3 taps and stride 2. N inputs give N odd outputs (one tap, w[1]: no
// transform) and N + 1 even ones, the coefficients of x(z) (w[0] + w[2] z), by N + 1 points.

struct Up1 {
  static constexpr int kIn = 1, kPoints = 2;
  static inline void data(const Vec* x, Vec* p) { p[0] = x[0], p[1] = x[0]; }
  static inline void out(const Vec* m, Vec* y) { y[0] = m[0], y[1] = m[1]; }
  static inline void data_adjoint(const Vec* p, Vec* x) { x[0] = p[0] + p[1]; }
  static inline void out_adjoint(const Vec* y, Vec* m) { m[0] = y[0], m[1] = y[1]; }
  static void weight(double w0, double w2, double* p) { p[0] = w0, p[1] = w2; }
};

// Points 0, -1, infinity (Karatsuba).
struct Up2 {
  static constexpr int kIn = 2, kPoints = 3;
  static inline void data(const Vec* x, Vec* p) { p[0] = x[0], p[1] = x[0] - x[1], p[2] = x[1]; }
  static inline void out(const Vec* m, Vec* y) {
    y[0] = m[0];
    y[1] = m[0] + m[2] - m[1];
    y[2] = m[2];
  }
  static inline void data_adjoint(const Vec* p, Vec* x) { x[0] = p[0] + p[1], x[1] = p[2] - p[1]; }
  static inline void out_adjoint(const Vec* y, Vec* m) {
    m[0] = y[0] + y[1];
    m[1] = -y[1];
    m[2] = y[1] + y[2];
  }
  static void weight(double w0, double w2, double* p) { p[0] = w0, p[1] = w0 - w2, p[2] = w2; }
};

// Points a, -a, b, -b, infinity with a = 1/2, b = 1.
struct Up4 {
  static constexpr int kIn = 4, kPoints = 5;
  static constexpr float a = 0.5f, b = 1.0f, a2 = a * a, b2 = b * b;
  static inline void data(const Vec* x, Vec* p) {
    const Vec even_a = fma(splat(a2), x[2], x[0]), odd_a = fma(splat(a2), x[3], x[1]);
    const Vec even_b = fma(splat(b2), x[2], x[0]), odd_b = fma(splat(b2), x[3], x[1]);
    p[0] = fma(splat(a), odd_a, even_a);
    p[1] = fnma(splat(a), odd_a, even_a);
    p[2] = fma(splat(b), odd_b, even_b);
    p[3] = fnma(splat(b), odd_b, even_b);
    p[4] = x[3];
  }
  static inline void out(const Vec* m, Vec* y) {
    const Vec sum_a = m[0] + m[1], diff_a = m[0] - m[1], sum_b = m[2] + m[3], diff_b = m[2] - m[3];
    y[4] = m[4];
    y[2] = fnma(splat(a2 + b2), m[4], sum_a - sum_b);
    y[0] = fma(splat(a2), sum_b, fma(splat(a2 * b2), m[4], splat(-b2) * sum_a));
    y[3] = fma(splat(1 / a), diff_a, splat(-1 / b) * diff_b);
    y[1] = fma(splat(a2 / b), diff_b, splat(-b2 / a) * diff_a);
  }
  static inline void data_adjoint(const Vec* p, Vec* x) {
    const Vec sum_a = p[0] + p[1], diff_a = splat(a) * (p[0] - p[1]);
    const Vec sum_b = p[2] + p[3], diff_b = splat(b) * (p[2] - p[3]);
    x[0] = sum_a + sum_b;
    x[1] = diff_a + diff_b;
    x[2] = fma(splat(a2), sum_a, splat(b2) * sum_b);
    x[3] = fma(splat(a2), diff_a, fma(splat(b2), diff_b, p[4]));
  }
  static inline void out_adjoint(const Vec* y, Vec* m) {
    const Vec sum_a = fnma(splat(b2), y[0], y[2]), sum_b = fma(splat(a2), y[0], -y[2]);
    const Vec diff_a = fma(splat(1 / a), y[3], splat(-b2 / a) * y[1]);
    const Vec diff_b = fma(splat(-1 / b), y[3], splat(a2 / b) * y[1]);
    m[0] = sum_a + diff_a;
    m[1] = sum_a - diff_a;
    m[2] = sum_b + diff_b;
    m[3] = sum_b - diff_b;
    m[4] = fma(splat(a2 * b2), y[0], fnma(splat(a2 + b2), y[2], y[4]));
  }
  static void weight(double w0, double w2, double* p) {
    const double n = 2.0 * (a2 - b2);
    p[0] = (w0 + a * w2) / n;
    p[1] = (w0 - a * w2) / n;
    p[2] = (w0 + b * w2) / n;
    p[3] = (w0 - b * w2) / n;
    p[4] = w2;
  }
};

}  // namespace fastgan::cpu::FASTGAN_STAMPED
