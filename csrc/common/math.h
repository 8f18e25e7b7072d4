// Elementary functions as branch-free arithmetic, so that plain loops over them vectorise.
// float: at most 2 ulp of normal results; double: the standard library.
#pragma once

#include <cmath>

#include "common/dtype.h"

namespace fastgan {

// x = exponent * ln(2) + r with |r| <= ln(2) / 2.
struct ExpShift {
  int32_t exponent;
  float r;
};

// Comparisons with NaN are false, so NaN stays.
FASTGAN_INLINE float clamped(float x, float least, float most) {
  x = x > most ? most : x;
  return x < least ? least : x;
}

// Adding 1.5 * 2^23 rounds to an integer and leaves it in the low mantissa bits.
FASTGAN_INLINE ExpShift exp_shift(float x) {
  const float magic = 12582912.0f;
  const float shifted = x * 1.44269504f + magic;
  const float n = shifted - magic;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  return {static_cast<int32_t>(float_to_bits(shifted)) - 0x4b400000, r};
}

// e^r - 1 with |r| <= ln(2) / 2.
FASTGAN_INLINE float expm1_poly(float r) {
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return p * r * r + r;
}

// 2^exponent for exponents from -126 to 128, where 2^128 is infinity.
FASTGAN_INLINE float power_of_two(int32_t exponent) {
  return bits_to_float(static_cast<uint32_t>(exponent + 127) << 23);
}

struct ExpParts {
  float scale_low;   // 2^floor(n / 2)
  float scale_high;  // 2^(n - floor(n / 2)): two factors, so that neither overflows before exp does
  float expm1;       // e^r - 1 with |r| <= ln(2) / 2
};

// e^x = 2^n e^r.
FASTGAN_INLINE ExpParts exp_parts(float x) {
  const ExpShift shift = exp_shift(clamped(x, -104.0f, 89.0f));
  const int32_t low = shift.exponent >> 1;
  return {power_of_two(low), power_of_two(shift.exponent - low), expm1_poly(shift.r)};
}

FASTGAN_INLINE float fast_exp(float x) {
  const ExpParts parts = exp_parts(x);
  return (parts.expm1 + 1.0f) * parts.scale_low * parts.scale_high;
}
FASTGAN_INLINE double fast_exp(double x) { return std::exp(x); }

// e^x - 1 without cancellation near zero, where n = 0 and both scales are 1.
FASTGAN_INLINE float fast_expm1(float x) {
  const ExpParts parts = exp_parts(x);
  const float scale = parts.scale_low * parts.scale_high;
  return parts.expm1 * parts.scale_low * parts.scale_high + (scale - 1.0f);
}
FASTGAN_INLINE double fast_expm1(double x) { return std::expm1(x); }

// 1 / (1 + e^-x) with one scale, which may become infinite: below -88.4, where sigmoid is
// subnormal, the result is 0.
FASTGAN_INLINE float fast_sigmoid(float x) {
  const ExpShift shift = exp_shift(clamped(-x, -87.0f, 89.0f));
  const float scale = power_of_two(shift.exponent);
  return 1.0f / (1.0f + (expm1_poly(shift.r) + 1.0f) * scale);
}
FASTGAN_INLINE double fast_sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

template <typename A>
FASTGAN_INLINE A fast_tanh(A x) {
  const A limited = x > A(22) ? A(22) : (x < A(-22) ? A(-22) : x);  // tanh is 1 to the last bit
  const A e = fast_expm1(A(2) * limited);
  return e / (e + A(2));
}

}  // namespace fastgan
