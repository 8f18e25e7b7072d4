// Inner loops of spectral_norm and its gradient: products of a matrix with a vector from either
// side, dot products and scaling. No torch in here. The weight is seen in memory order as
// [outer][rows][inner]; the matrix has `rows` rows and outer * inner columns.
#pragma once

#include <cstdint>

#include "common/dtype.h"
#include "cpu/isa.h"

namespace fastgan::cpu {

// Sums run in this many independent lanes, added up in order at the end: one order per instruction
// set, whatever the number of threads. One cache line of accumulators.
template <typename A>
constexpr int64_t kLanes = 64 / sizeof(A);

template <typename A>
FASTGAN_INLINE A sum_lanes(const A* lanes) {
  A total = 0;
  for (int64_t l = 0; l < kLanes<A>; ++l) total += lanes[l];
  return total;
}

// out[c] += sum_r u[r] * w[r * stride + c]: one tile of W^T u for outer = 1. Eight rows in a pass,
// so that out (in the L1 cache) is read and written once for eight reads of w.
template <typename T>
struct TransposedProduct {
  using A = acc_t<T>;
  FASTGAN_INLINE static void run(const T* __restrict w, const A* __restrict u, A* __restrict out,
                                 int64_t rows, int64_t cols, int64_t stride) {
    int64_t r = 0;
    for (; r + 8 <= rows; r += 8, w += 8 * stride) {
      const A u0 = u[r], u1 = u[r + 1], u2 = u[r + 2], u3 = u[r + 3];
      const A u4 = u[r + 4], u5 = u[r + 5], u6 = u[r + 6], u7 = u[r + 7];
      for (int64_t c = 0; c < cols; ++c) {
        A even = u0 * load(w[c]) + u2 * load(w[2 * stride + c]);
        A odd = u1 * load(w[stride + c]) + u3 * load(w[3 * stride + c]);
        even += u4 * load(w[4 * stride + c]) + u6 * load(w[6 * stride + c]);
        odd += u5 * load(w[5 * stride + c]) + u7 * load(w[7 * stride + c]);
        out[c] += even + odd;
      }
    }
    for (; r < rows; ++r, w += stride) {
      for (int64_t c = 0; c < cols; ++c) out[c] += u[r] * load(w[c]);
    }
  }
};

// out[r] = sum_c w[r * stride + c] * v[c]: one tile of W v for outer = 1. Four rows in a pass share
// the reads of v.
template <typename T>
struct Product {
  using A = acc_t<T>;
  FASTGAN_INLINE static A row(const T* __restrict w, const A* __restrict v, int64_t cols) {
    A lanes[kLanes<A>] = {};
    int64_t c = 0;
    for (; c + kLanes<A> <= cols; c += kLanes<A>) {
      for (int64_t l = 0; l < kLanes<A>; ++l) lanes[l] += load(w[c + l]) * v[c + l];
    }
    A total = sum_lanes(lanes);
    for (; c < cols; ++c) total += load(w[c]) * v[c];
    return total;
  }

  FASTGAN_INLINE static void run(const T* __restrict w, const A* __restrict v, A* __restrict out,
                                 int64_t rows, int64_t cols, int64_t stride) {
    constexpr int64_t L = kLanes<A>;
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4, w += 4 * stride) {
      A s0[L] = {}, s1[L] = {}, s2[L] = {}, s3[L] = {};
      const T *w0 = w, *w1 = w + stride, *w2 = w + 2 * stride, *w3 = w + 3 * stride;
      int64_t c = 0;
      for (; c + L <= cols; c += L) {
        for (int64_t l = 0; l < L; ++l) s0[l] += load(w0[c + l]) * v[c + l];
        for (int64_t l = 0; l < L; ++l) s1[l] += load(w1[c + l]) * v[c + l];
        for (int64_t l = 0; l < L; ++l) s2[l] += load(w2[c + l]) * v[c + l];
        for (int64_t l = 0; l < L; ++l) s3[l] += load(w3[c + l]) * v[c + l];
      }
      A t0 = sum_lanes(s0), t1 = sum_lanes(s1), t2 = sum_lanes(s2), t3 = sum_lanes(s3);
      for (; c < cols; ++c) {
        t0 += load(w0[c]) * v[c];
        t1 += load(w1[c]) * v[c];
        t2 += load(w2[c]) * v[c];
        t3 += load(w3[c]) * v[c];
      }
      out[r] = t0, out[r + 1] = t1, out[r + 2] = t2, out[r + 3] = t3;
    }
    for (; r < rows; ++r, w += stride) out[r] = row(w, v, cols);
  }
};

// W^T u for outer > 1 (transposed convolutions), where a row's columns lie apart. `period` is a
// multiple of inner long enough to vectorise over; u is repeated `inner` times, [rows * inner].
//   out[a * inner + s] = sum_r u[r] * w[(a * rows + r) * inner + s]
// `work` holds `period` numbers.
template <typename T>
struct InterleavedTransposedProduct {
  using A = acc_t<T>;
  FASTGAN_INLINE static void run(const T* __restrict w, const A* __restrict u, A* __restrict out,
                                 A* __restrict work, int64_t outer, int64_t size, int64_t inner,
                                 int64_t period) {
    for (int64_t a = 0; a < outer; ++a, w += size, out += inner) {
      for (int64_t j = 0; j < period; ++j) work[j] = 0;
      for (int64_t start = 0; start < size; start += period) {
        const int64_t count = size - start < period ? size - start : period;
        for (int64_t j = 0; j < count; ++j) work[j] += u[start + j] * load(w[start + j]);
      }
      for (int64_t s = 0; s < inner; ++s) out[s] = 0;
      for (int64_t j = 0; j < period; j += inner) {
        for (int64_t s = 0; s < inner; ++s) out[s] += work[j + s];
      }
    }
  }
};

// W v for outer > 1, before the sum over inner: out[r * inner + s] += sum_a w[...] * v[a * inner +
// s]. `work` holds 2 * `period` numbers: v of two outer positions, repeated.
template <typename T>
struct InterleavedProduct {
  using A = acc_t<T>;
  FASTGAN_INLINE static void repeat(const A* __restrict v, A* __restrict work, int64_t inner,
                                    int64_t period) {
    for (int64_t j = 0; j < period; j += inner) {
      for (int64_t s = 0; s < inner; ++s) work[j + s] = v[s];
    }
  }

  FASTGAN_INLINE static void run(const T* __restrict w, const A* __restrict v, A* __restrict out,
                                 A* __restrict work, int64_t outer, int64_t size, int64_t inner,
                                 int64_t period) {
    int64_t a = 0;
    for (; a + 2 <= outer; a += 2, w += 2 * size, v += 2 * inner) {
      repeat(v, work, inner, period);
      repeat(v + inner, work + period, inner, period);
      for (int64_t start = 0; start < size; start += period) {
        const int64_t count = size - start < period ? size - start : period;
        const T *w0 = w + start, *w1 = w + size + start;
        const A *v0 = work, *v1 = work + period;
        A* y = out + start;
        for (int64_t j = 0; j < count; ++j) y[j] += load(w0[j]) * v0[j] + load(w1[j]) * v1[j];
      }
    }
    if (a == outer) return;
    repeat(v, work, inner, period);
    for (int64_t start = 0; start < size; start += period) {
      const int64_t count = size - start < period ? size - start : period;
      for (int64_t j = 0; j < count; ++j) out[start + j] += load(w[start + j]) * work[j];
    }
  }
};

// out[r * stride + c] = w[r * stride + c] / sigma.
template <typename T>
struct Divide {
  using A = acc_t<T>;
  FASTGAN_INLINE static void run(const T* __restrict w, T* __restrict out, int64_t rows,
                                 int64_t cols, int64_t stride, A sigma) {
    for (int64_t r = 0; r < rows; ++r, w += stride, out += stride) {
      for (int64_t c = 0; c < cols; ++c) out[c] = store<T>(load(w[c]) / sigma);
    }
  }
};

// *total = sum_j x[j] * x[j], in double: the norm of a long vector.
template <typename A>
struct SquaredNorm {
  FASTGAN_INLINE static void run(const A* __restrict x, int64_t size, double* total) {
    constexpr int64_t L = 8;
    double lanes[L] = {}, sum = 0;
    int64_t j = 0;
    for (; j + L <= size; j += L) {
      for (int64_t l = 0; l < L; ++l) {
        lanes[l] += static_cast<double>(x[j + l]) * static_cast<double>(x[j + l]);
      }
    }
    for (int64_t l = 0; l < L; ++l) sum += lanes[l];
    for (; j < size; ++j) sum += static_cast<double>(x[j]) * static_cast<double>(x[j]);
    *total = sum;
  }
};

// *total = sum_j a[j] * b[j] over one block of the flat tensors.
template <typename T>
struct Dot {
  using A = acc_t<T>;
  FASTGAN_INLINE static void run(const T* __restrict a, const T* __restrict b, int64_t size,
                                 double* total) {
    constexpr int64_t L = kLanes<A>;
    A s0[L] = {}, s1[L] = {}, s2[L] = {}, s3[L] = {};
    int64_t j = 0;
    for (; j + 4 * L <= size; j += 4 * L) {
      const T *a0 = a + j, *b0 = b + j;
      for (int64_t l = 0; l < L; ++l) s0[l] += load(a0[l]) * load(b0[l]);
      for (int64_t l = 0; l < L; ++l) s1[l] += load(a0[L + l]) * load(b0[L + l]);
      for (int64_t l = 0; l < L; ++l) s2[l] += load(a0[2 * L + l]) * load(b0[2 * L + l]);
      for (int64_t l = 0; l < L; ++l) s3[l] += load(a0[3 * L + l]) * load(b0[3 * L + l]);
    }
    double sum = sum_lanes(s0);
    sum += sum_lanes(s1);
    sum += sum_lanes(s2);
    sum += sum_lanes(s3);
    for (; j < size; ++j) sum += static_cast<double>(load(a[j]) * load(b[j]));
    *total = sum;
  }
};

// out = g / sigma + factor * u v^T on one tile, outer = 1.
template <typename T>
struct GradTile {
  using A = acc_t<T>;
  FASTGAN_INLINE static void run(const T* __restrict g, const A* __restrict u,
                                 const A* __restrict v, T* __restrict out, int64_t rows,
                                 int64_t cols, int64_t stride, A sigma, A factor) {
    for (int64_t r = 0; r < rows; ++r, g += stride, out += stride) {
      const A scale = factor * u[r];
      for (int64_t c = 0; c < cols; ++c) out[c] = store<T>(load(g[c]) / sigma + scale * v[c]);
    }
  }
};

// The same for outer > 1, u repeated as above; `work` holds `period` numbers.
template <typename T>
struct InterleavedGrad {
  using A = acc_t<T>;
  FASTGAN_INLINE static void run(const T* __restrict g, const A* __restrict u,
                                 const A* __restrict v, T* __restrict out, A* __restrict work,
                                 int64_t outer, int64_t size, int64_t inner, int64_t period,
                                 A sigma, A factor) {
    for (int64_t a = 0; a < outer; ++a, g += size, out += size, v += inner) {
      InterleavedProduct<T>::repeat(v, work, inner, period);
      for (int64_t start = 0; start < size; start += period) {
        const int64_t count = size - start < period ? size - start : period;
        for (int64_t j = 0; j < count; ++j) {
          out[start + j] = store<T>(load(g[start + j]) / sigma + factor * u[start + j] * work[j]);
        }
      }
    }
  }
};

}  // namespace fastgan::cpu
