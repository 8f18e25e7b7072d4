// Loops of bias_act that keep, for the gradient, bits instead of the output. No torch in here.
//
// The gradient of a piecewise linear activation needs to know two things of an element: whether
// act's argument was positive, and whether the result lay inside the clamp. A block of kBlock
// elements keeps them in words: bit k of word j belongs to element k * kWords + j, so that packing
// and unpacking run along whole vectors.
#pragma once

#include "cpu/bias_act_kernel.h"

namespace fastgan::cpu {

constexpr int64_t kSignWords = 16;
constexpr int64_t kSignBits = 32;
constexpr int64_t kSignBlock = kSignWords * kSignBits;

// y and the bits of one block; `inside` is null without a clamp.
template <template <typename> class Act, typename A, bool kClamp>
struct SignsForward {
  FASTGAN_INLINE static void run(const A* __restrict x, A bias, A* __restrict y,
                                 uint32_t* __restrict positive, uint32_t* __restrict inside,
                                 double alpha, double gain, double limit) {
    const A alpha_ = A(alpha), gain_ = A(gain), limit_ = A(limit);
    uint32_t above[kSignWords] = {}, within[kSignWords] = {};
    for (int64_t k = 0; k < kSignBits; ++k) {
#pragma omp simd
      for (int64_t j = 0; j < kSignWords; ++j) {
        const A v = x[k * kSignWords + j] + bias;
        const A value = Act<A>::value(v, alpha_, A(1)) * gain_;
        above[j] |= uint32_t(v > A(0)) << k;
        if (kClamp) {
          within[j] |= uint32_t(!(value >= limit_) & !(value <= -limit_)) << k;
          const A floored = value < -limit_ ? -limit_ : value;
          y[k * kSignWords + j] = floored > limit_ ? limit_ : floored;
        } else {
          y[k * kSignWords + j] = value;
        }
      }
    }
    for (int64_t j = 0; j < kSignWords; ++j) positive[j] = above[j];
    for (int64_t j = 0; kClamp && j < kSignWords; ++j) inside[j] = within[j];
  }
};

// grad_x = g * slope of one block, added up into sum.
template <typename A, bool kClamp>
struct SignsBackward {
  FASTGAN_INLINE static void run(const A* __restrict g, A* __restrict grad_x,
                                 const uint32_t* __restrict positive,
                                 const uint32_t* __restrict inside, A* __restrict sum, double alpha,
                                 double gain) {
    const A up = A(gain), down = A(alpha) * A(gain);
    A sums[kSignWords] = {};
    for (int64_t k = 0; k < kSignBits; ++k) {
#pragma omp simd
      for (int64_t j = 0; j < kSignWords; ++j) {
        A slope = positive[j] >> k & 1 ? up : down;
        if (kClamp) slope = inside[j] >> k & 1 ? slope : A(0);
        const A value = g[k * kSignWords + j] * slope;
        grad_x[k * kSignWords + j] = value;
        sums[j] += value;
      }
    }
    A total = 0;
    for (int64_t j = 0; j < kSignWords; ++j) total += sums[j];
    *sum += total;
  }
};

}  // namespace fastgan::cpu
