// Minimal filtering with 2 taps: y[i] = w[0] x[i] + w[1] x[i + 1], and its adjoints. A 2-D
// algorithm is the nesting of two. Only in a stamped region.
//
// Source: Winograd 1980, "Arithmetic Complexity of Computations"; the points are small exact binary
// fractions, chosen for their rounding error.
#pragma once

#include "cpu/vector.h"

namespace fastgan::cpu::conv4x4::FASTGAN_STAMPED {

using namespace fastgan::cpu::FASTGAN_STAMPED;

// F(2, 2): 2 outputs from 3 inputs, points 0, 1, infinity: additions alone.
struct Pair2 {
  static constexpr int kOut = 2, kPoints = 3;
  static inline void data(const Vec* x, Vec* p) {
    p[0] = x[0] - x[1];
    p[1] = x[1];
    p[2] = x[2] - x[1];
  }
  static inline void out(const Vec* m, Vec* y) { y[0] = m[0] + m[1], y[1] = m[1] + m[2]; }
  static inline void out_adjoint(const Vec* y, Vec* m) {
    m[0] = y[0], m[1] = y[0] + y[1], m[2] = y[1];
  }
  static inline void weight(Vec w0, Vec w1, Vec* p) { p[0] = w0, p[1] = w0 + w1, p[2] = w1; }
  static inline void weight_adjoint(const Vec* p, Vec* w) {
    w[0] = p[0] + p[1], w[1] = p[1] + p[2];
  }
};

// F(4, 2): 4 outputs from 5 inputs, points a, -a, b, -b, infinity.
struct Pair4 {
  static constexpr int kOut = 4, kPoints = 5;
  static constexpr float a = 0.5f, b = 1.25f, a2 = a * a, b2 = b * b;
  static constexpr float na = 1 / (2 * (a2 - b2)), nb = 1 / (2 * (b2 - a2));
  static inline void data(const Vec* x, Vec* p) {
    const Vec even_a = fnma(splat(b2), x[0], x[2]), odd_a = fnma(splat(b2), x[1], x[3]);
    const Vec even_b = fnma(splat(a2), x[0], x[2]), odd_b = fnma(splat(a2), x[1], x[3]);
    p[0] = fma(splat(1 / a), odd_a, even_a);
    p[1] = fnma(splat(1 / a), odd_a, even_a);
    p[2] = fma(splat(1 / b), odd_b, even_b);
    p[3] = fnma(splat(1 / b), odd_b, even_b);
    p[4] = fma(splat(a2 * b2), x[0], fnma(splat(a2 + b2), x[2], x[4]));
  }
  static inline void out(const Vec* m, Vec* y) {
    const Vec sum_a = m[0] + m[1], diff_a = m[0] - m[1], sum_b = m[2] + m[3], diff_b = m[2] - m[3];
    y[0] = sum_a + sum_b;
    y[1] = fma(splat(a), diff_a, splat(b) * diff_b);
    y[2] = fma(splat(a2), sum_a, splat(b2) * sum_b);
    y[3] = fma(splat(a * a2), diff_a, fma(splat(b * b2), diff_b, m[4]));
  }
  static inline void out_adjoint(const Vec* y, Vec* m) {
    const Vec even_a = fma(splat(a2), y[2], y[0]), even_b = fma(splat(b2), y[2], y[0]);
    const Vec odd_a = fma(splat(a * a2), y[3], splat(a) * y[1]);
    const Vec odd_b = fma(splat(b * b2), y[3], splat(b) * y[1]);
    m[0] = even_a + odd_a;
    m[1] = even_a - odd_a;
    m[2] = even_b + odd_b;
    m[3] = even_b - odd_b;
    m[4] = y[3];
  }
  static inline void weight(Vec w0, Vec w1, Vec* p) {
    const Vec of_a = splat(na) * w0, of_b = splat(nb) * w0;
    p[0] = fma(splat(a * na), w1, of_a);
    p[1] = fnma(splat(a * na), w1, of_a);
    p[2] = fma(splat(b * nb), w1, of_b);
    p[3] = fnma(splat(b * nb), w1, of_b);
    p[4] = w1;
  }
  static inline void weight_adjoint(const Vec* p, Vec* w) {
    w[0] = fma(splat(na), p[0] + p[1], splat(nb) * (p[2] + p[3]));
    w[1] = fma(splat(a * na), p[0] - p[1], fma(splat(b * nb), p[2] - p[3], p[4]));
  }
};

}  // namespace fastgan::cpu::conv4x4::FASTGAN_STAMPED
