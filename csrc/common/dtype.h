// Storage types and the types that kernels compute in. No torch in here: the same bits as
// torch's float16 and bfloat16, with conversions that vectorise in a plain loop.
#pragma once

#include <cstdint>
#include <cstring>

#if !defined(FASTGAN_INLINE)
#define FASTGAN_INLINE inline __attribute__((always_inline))
#endif

namespace fastgan {

// Enumerations and not structs: the compiler vectorises loops that store scalars, not structs.
enum class bfloat16 : uint16_t {};
enum class float16 : uint16_t {};

FASTGAN_INLINE float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

FASTGAN_INLINE uint32_t float_to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// Half types are computed in float, float64 in double.
template <typename T>
struct Accumulate {
  using type = float;
};
template <>
struct Accumulate<double> {
  using type = double;
};
template <typename T>
using acc_t = typename Accumulate<T>::type;

FASTGAN_INLINE float load(float value) { return value; }
FASTGAN_INLINE double load(double value) { return value; }
FASTGAN_INLINE float load(bfloat16 value) {
  return bits_to_float(static_cast<uint32_t>(value) << 16);
}
// Shift the exponent into place, then rescale: exact for normals and subnormals, and infinities
// and NaN are patched by a select. Branch-free, so that it vectorises at every level.
FASTGAN_INLINE float load(float16 value) {
  const uint32_t magnitude = (static_cast<uint32_t>(value) & 0x7fffu) << 13;
  const uint32_t sign = (static_cast<uint32_t>(value) & 0x8000u) << 16;
  const float scaled = bits_to_float(magnitude) * 0x1.0p112f;
  const uint32_t special = magnitude | 0x7f800000u;
  const uint32_t bits = magnitude >= 0x0f800000u ? special : float_to_bits(scaled);
  return bits_to_float(bits | sign);
}

template <typename T>
struct Store;
template <>
struct Store<float> {
  FASTGAN_INLINE static float of(float value) { return value; }
};
template <>
struct Store<double> {
  FASTGAN_INLINE static double of(double value) { return value; }
};
// Round to nearest even; NaN stays NaN.
template <>
struct Store<bfloat16> {
  FASTGAN_INLINE static bfloat16 of(float value) {
    const uint32_t bits = float_to_bits(value);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return static_cast<bfloat16>(static_cast<uint16_t>(nan ? 0x7fc0u : rounded));
  }
};
template <>
struct Store<float16> {
  FASTGAN_INLINE static float16 of(float value) {
    const uint32_t bits = float_to_bits(value);
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    // Normal range: rebias the exponent and round to nearest even on the 13 dropped bits.
    const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    // Below 2^-14: adding 0.5 lets the float unit round to a multiple of 2^-24.
    const uint32_t small = float_to_bits(bits_to_float(magnitude) + 0.5f) - 0x3f000000u;
    const uint32_t finite = magnitude < 0x38800000u ? small : normal;
    const uint32_t large = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
    const uint32_t result = (magnitude >= 0x477ff000u ? large : finite) | sign;
    return static_cast<float16>(static_cast<uint16_t>(result));
  }
};

template <typename T>
FASTGAN_INLINE T store(acc_t<T> value) {
  return Store<T>::of(value);
}

}  // namespace fastgan
