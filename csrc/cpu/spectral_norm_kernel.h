// Inner loops of spectral_norm and its gradient: products of a matrix with a vector from either
// side, dot products and scaling. No torch in here. The weight is seen in memory order as
// [outer][rows][inner]; the matrix has `rows` rows and outer * inner columns.
#pragma once

#include <cstdint>

#include "common/dtype.h"
#include "cpu/isa.h"

namespace fastgan::cpu::spectral_norm {

// Sums over columns run in this many independent lanes, added up pairwise at the end: one order,
// whatever the instruction set and the number of threads.
constexpr int64_t kLanes = 64;

template <typename A>
FASTGAN_INLINE A sum_lanes(A* lanes) {
  for (int64_t half = kLanes / 2; half > 0; half /= 2) {
    for (int64_t l = 0; l < half; ++l) lanes[l] += lanes[l + half];
  }
  return lanes[0];
}

// sum_j a[j] * b[j]. Eight products are added before they meet a lane: the lanes live in memory,
// and waiting for each store to come back would cost more than the products.
template <typename T, typename U>
FASTGAN_INLINE acc_t<T> dot_product(const T* __restrict a, const U* __restrict b, int64_t size) {
  using A = acc_t<T>;
  constexpr int64_t L = kLanes;
  A lanes[L] = {};
  int64_t j = 0;
  for (; j + 8 * L <= size; j += 8 * L) {
    const T* x = a + j;
    const U* y = b + j;
    for (int64_t l = 0; l < L; ++l) {
      A even = load(x[l]) * load(y[l]) + load(x[2 * L + l]) * load(y[2 * L + l]);
      A odd = load(x[L + l]) * load(y[L + l]) + load(x[3 * L + l]) * load(y[3 * L + l]);
      even += load(x[4 * L + l]) * load(y[4 * L + l]) + load(x[6 * L + l]) * load(y[6 * L + l]);
      odd += load(x[5 * L + l]) * load(y[5 * L + l]) + load(x[7 * L + l]) * load(y[7 * L + l]);
      lanes[l] += even + odd;
    }
  }
  for (; j + L <= size; j += L) {
    for (int64_t l = 0; l < L; ++l) lanes[l] += load(a[j + l]) * load(b[j + l]);
  }
  A total = sum_lanes(lanes);
  for (; j < size; ++j) total += load(a[j]) * load(b[j]);
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

// out[r] = sum_c w[r * stride + c] * v[c]: one tile of W v for outer = 1.
template <typename T>
struct Product {
  using A = acc_t<T>;
  FASTGAN_INLINE static void run(const T* __restrict w, const A* __restrict v, A* __restrict out,
                                 int64_t rows, int64_t cols, int64_t stride) {
    for (int64_t r = 0; r < rows; ++r) out[r] = dot_product(w + r * stride, v, cols);
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
  FASTGAN_INLINE static void run(const T* a, const T* b, int64_t size, double* total) {
    *total = static_cast<double>(dot_product(a, b, size));
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

}  // namespace fastgan::cpu::spectral_norm
