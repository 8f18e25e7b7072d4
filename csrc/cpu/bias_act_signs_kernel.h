// Loops of bias_act that keep, for the gradient, bits instead of the output. No torch in here.
//
// The gradient of a piecewise linear activation needs to know two things of an element: whether
// act's argument was positive, and whether the result lay inside the clamp. Bit i % 32 of word
// i / 32 belongs to element i of a block: what a comparison of vectors leaves in a mask.
#pragma once

#include "cpu/isa.h"

#if defined(FASTGAN_HAVE_X86_VARIANTS)
#include <immintrin.h>
#endif

namespace fastgan::cpu {

constexpr int64_t kSignWords = 16;
constexpr int64_t kSignBits = 32;
constexpr int64_t kSignBlock = kSignWords * kSignBits;

template <typename T>
struct SignsParams {
  T alpha;
  T gain;
  T limit;
  bool stream;  // write around the caches; results are then aligned to 64 bytes
};

// y and the bits of one block; `inside` is null without a clamp.
template <typename T>
using SignsForward = void (*)(const T* x, T bias, T* y, uint32_t* positive, uint32_t* inside,
                              const SignsParams<T>& p);
// grad_x = g * slope of one block; returns its sum.
template <typename T>
using SignsBackward = T (*)(const T* g, T* grad_x, const uint32_t* positive, const uint32_t* inside,
                            const SignsParams<T>& p);

template <typename T, bool kRelu, bool kClamp>
void signs_forward(const T* x, T bias, T* y, uint32_t* positive, uint32_t* inside,
                   const SignsParams<T>& p) {
  for (int64_t word = 0; word < kSignWords; ++word) {
    uint32_t above = 0, within = 0;
    for (int64_t bit = 0; bit < kSignBits; ++bit) {
      const int64_t i = word * kSignBits + bit;
      const T v = x[i] + bias;
      const T act = kRelu ? (v <= T(0) ? T(0) : v) : v * (v > T(0) ? T(1) : p.alpha);
      const T value = act * p.gain;
      above |= uint32_t(v > T(0)) << bit;
      within |= uint32_t(!(value >= p.limit) & !(value <= -p.limit)) << bit;
      const T floored = kClamp && value < -p.limit ? -p.limit : value;
      y[i] = kClamp && floored > p.limit ? p.limit : floored;
    }
    positive[word] = above;
    if (kClamp) inside[word] = within;
  }
}

template <typename T, bool kClamp>
T signs_backward(const T* g, T* grad_x, const uint32_t* positive, const uint32_t* inside,
                 const SignsParams<T>& p) {
  const T up = p.gain, down = p.alpha * p.gain;
  T sums[4] = {};
  for (int64_t i = 0; i < kSignBlock; ++i) {
    T slope = positive[i / kSignBits] >> i % kSignBits & 1 ? up : down;
    if (kClamp) slope = inside[i / kSignBits] >> i % kSignBits & 1 ? slope : T(0);
    grad_x[i] = g[i] * slope;
    sums[i % 4] += grad_x[i];
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

#if defined(FASTGAN_HAVE_X86_VARIANTS)

template <bool kRelu, bool kClamp>
FASTGAN_TARGET_AVX512 void signs_forward_avx512(const float* x, float bias, float* y,
                                                uint32_t* positive, uint32_t* inside,
                                                const SignsParams<float>& p) {
  const __m512 b = _mm512_set1_ps(bias), zero = _mm512_setzero_ps(), one = _mm512_set1_ps(1.0f);
  const __m512 alpha = _mm512_set1_ps(p.alpha), gain = _mm512_set1_ps(p.gain);
  const __m512 high = _mm512_set1_ps(p.limit), low = _mm512_set1_ps(-p.limit);
  uint16_t* above = reinterpret_cast<uint16_t*>(positive);
  uint16_t* within = reinterpret_cast<uint16_t*>(inside);
  for (int64_t k = 0; k < kSignBlock / 16; ++k) {
    const __m512 v = _mm512_add_ps(_mm512_loadu_ps(x + 16 * k), b);
    const __mmask16 mask = _mm512_cmp_ps_mask(v, zero, _CMP_GT_OQ);
    __m512 value;
    if (kRelu) {  // NaN stays
      value = _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(v, zero, _CMP_NLE_UQ), v);
    } else {
      value = _mm512_mul_ps(v, _mm512_mask_blend_ps(mask, alpha, one));
    }
    value = _mm512_mul_ps(value, gain);
    above[k] = static_cast<uint16_t>(mask);
    if (kClamp) {
      within[k] = static_cast<uint16_t>(_mm512_cmp_ps_mask(value, high, _CMP_NGE_UQ) &
                                        _mm512_cmp_ps_mask(value, low, _CMP_NLE_UQ));
      value = _mm512_min_ps(high, _mm512_max_ps(low, value));  // NaN stays: the second operand
    }
    p.stream ? _mm512_stream_ps(y + 16 * k, value) : _mm512_storeu_ps(y + 16 * k, value);
  }
}

template <bool kClamp>
FASTGAN_TARGET_AVX512 float signs_backward_avx512(const float* g, float* grad_x,
                                                  const uint32_t* positive, const uint32_t* inside,
                                                  const SignsParams<float>& p) {
  const __m512 up = _mm512_set1_ps(p.gain), down = _mm512_set1_ps(p.alpha * p.gain);
  const uint16_t* above = reinterpret_cast<const uint16_t*>(positive);
  const uint16_t* within = reinterpret_cast<const uint16_t*>(inside);
  __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
  for (int64_t k = 0; k < kSignBlock / 16; ++k) {
    __m512 slope = _mm512_mask_blend_ps(static_cast<__mmask16>(above[k]), down, up);
    if (kClamp) slope = _mm512_maskz_mov_ps(static_cast<__mmask16>(within[k]), slope);
    const __m512 value = _mm512_mul_ps(_mm512_loadu_ps(g + 16 * k), slope);
    sums[k % 2] = _mm512_add_ps(sums[k % 2], value);
    p.stream ? _mm512_stream_ps(grad_x + 16 * k, value) : _mm512_storeu_ps(grad_x + 16 * k, value);
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]));
}

template <bool kRelu, bool kClamp>
FASTGAN_TARGET_AVX2 void signs_forward_avx2(const float* x, float bias, float* y,
                                            uint32_t* positive, uint32_t* inside,
                                            const SignsParams<float>& p) {
  const __m256 b = _mm256_set1_ps(bias), zero = _mm256_setzero_ps(), one = _mm256_set1_ps(1.0f);
  const __m256 alpha = _mm256_set1_ps(p.alpha), gain = _mm256_set1_ps(p.gain);
  const __m256 high = _mm256_set1_ps(p.limit), low = _mm256_set1_ps(-p.limit);
  uint8_t* above = reinterpret_cast<uint8_t*>(positive);
  uint8_t* within = reinterpret_cast<uint8_t*>(inside);
  for (int64_t k = 0; k < kSignBlock / 8; ++k) {
    const __m256 v = _mm256_add_ps(_mm256_loadu_ps(x + 8 * k), b);
    const __m256 mask = _mm256_cmp_ps(v, zero, _CMP_GT_OQ);
    __m256 value;
    if (kRelu) {  // NaN stays
      value = _mm256_and_ps(_mm256_cmp_ps(v, zero, _CMP_NLE_UQ), v);
    } else {
      value = _mm256_mul_ps(v, _mm256_blendv_ps(alpha, one, mask));
    }
    value = _mm256_mul_ps(value, gain);
    above[k] = static_cast<uint8_t>(_mm256_movemask_ps(mask));
    if (kClamp) {
      within[k] = static_cast<uint8_t>(_mm256_movemask_ps(_mm256_and_ps(
          _mm256_cmp_ps(value, high, _CMP_NGE_UQ), _mm256_cmp_ps(value, low, _CMP_NLE_UQ))));
      value = _mm256_min_ps(high, _mm256_max_ps(low, value));  // NaN stays: the second operand
    }
    p.stream ? _mm256_stream_ps(y + 8 * k, value) : _mm256_storeu_ps(y + 8 * k, value);
  }
}

// All ones where the bit of a lane is set.
FASTGAN_TARGET_AVX2 inline __m256 mask_of(uint8_t bits) {
  const __m256i lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i kept = _mm256_and_si256(_mm256_set1_epi32(bits), lanes);
  return _mm256_castsi256_ps(_mm256_cmpeq_epi32(kept, lanes));
}

template <bool kClamp>
FASTGAN_TARGET_AVX2 float signs_backward_avx2(const float* g, float* grad_x,
                                              const uint32_t* positive, const uint32_t* inside,
                                              const SignsParams<float>& p) {
  const __m256 up = _mm256_set1_ps(p.gain), down = _mm256_set1_ps(p.alpha * p.gain);
  const uint8_t* above = reinterpret_cast<const uint8_t*>(positive);
  const uint8_t* within = reinterpret_cast<const uint8_t*>(inside);
  __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int64_t k = 0; k < kSignBlock / 8; ++k) {
    __m256 slope = _mm256_blendv_ps(down, up, mask_of(above[k]));
    if (kClamp) slope = _mm256_and_ps(mask_of(within[k]), slope);
    const __m256 value = _mm256_mul_ps(_mm256_loadu_ps(g + 8 * k), slope);
    sums[k % 2] = _mm256_add_ps(sums[k % 2], value);
    p.stream ? _mm256_stream_ps(grad_x + 8 * k, value) : _mm256_storeu_ps(grad_x + 8 * k, value);
  }
  float lanes[8], total = 0;
  _mm256_storeu_ps(lanes, _mm256_add_ps(sums[0], sums[1]));
  for (const float lane : lanes) total += lane;
  return total;
}

#endif

// The loop for the instruction set in use; types other than float take the plain one.
template <typename T, bool kRelu, bool kClamp>
SignsForward<T> signs_forward_variant() {
#if defined(FASTGAN_HAVE_X86_VARIANTS)
  if constexpr (sizeof(T) == sizeof(float)) {
    if (current_isa() == Isa::kAvx512) return &signs_forward_avx512<kRelu, kClamp>;
    if (current_isa() == Isa::kAvx2) return &signs_forward_avx2<kRelu, kClamp>;
  }
#endif
  return &signs_forward<T, kRelu, kClamp>;
}

template <typename T, bool kClamp>
SignsBackward<T> signs_backward_variant() {
#if defined(FASTGAN_HAVE_X86_VARIANTS)
  if constexpr (sizeof(T) == sizeof(float)) {
    if (current_isa() == Isa::kAvx512) return &signs_backward_avx512<kClamp>;
    if (current_isa() == Isa::kAvx2) return &signs_backward_avx2<kClamp>;
  }
#endif
  return &signs_backward<T, kClamp>;
}

}  // namespace fastgan::cpu
