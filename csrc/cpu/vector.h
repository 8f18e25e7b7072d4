// One vector of floats, as wide as the instruction set of the stamp, and the few functions on it
// that the operators +, -, * of the compiler's vectors do not give. Only in a stamped region.
#pragma once

namespace fastgan::cpu::FASTGAN_STAMPED {

constexpr int kLanes = FASTGAN_VECTOR_FLOATS;

typedef float Vec __attribute__((vector_size(FASTGAN_VECTOR_FLOATS * 4)));
typedef float UnalignedVec
    __attribute__((vector_size(FASTGAN_VECTOR_FLOATS * 4), aligned(4), may_alias));

static inline Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
// stream() stores around the caches, to whole aligned vectors.
static inline void store(float* p, Vec a) { *reinterpret_cast<UnalignedVec*>(p) = a; }

#if defined(FASTGAN_STAMP_X86) && FASTGAN_VECTOR_FLOATS == 16
static inline Vec splat(float a) { return _mm512_set1_ps(a); }
static inline Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
static inline Vec min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
static inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline Vec fnma(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a, b, c); }
static inline float sum(Vec a) { return _mm512_reduce_add_ps(a); }
static inline void stream(float* p, Vec a) { _mm512_stream_ps(p, a); }
static inline Vec load(const uint16_t* half) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(half)));
}
#elif defined(FASTGAN_STAMP_X86) && FASTGAN_VECTOR_FLOATS == 8
static inline Vec splat(float a) { return _mm256_set1_ps(a); }
static inline Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
static inline Vec min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
static inline Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline Vec fnma(Vec a, Vec b, Vec c) { return _mm256_fnmadd_ps(a, b, c); }
static inline void stream(float* p, Vec a) { _mm256_stream_ps(p, a); }
static inline float sum(Vec a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static inline Vec load(const uint16_t* half) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(half)));
}
#else
static inline Vec splat(float a) { return Vec{a, a, a, a}; }
static inline Vec max(Vec a, Vec b) { return a > b ? a : b; }
static inline Vec min(Vec a, Vec b) { return a < b ? a : b; }
static inline Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
static inline Vec fnma(Vec a, Vec b, Vec c) { return c - a * b; }
static inline void stream(float* p, Vec a) { store(p, a); }
static inline float sum(Vec a) { return (a[0] + a[1]) + (a[2] + a[3]); }
// float16 -> float32: shifting exponent and mantissa into place leaves the value times 2^-112.
static inline float from_half(uint16_t half) {
  const uint32_t magnitude = static_cast<uint32_t>(half & 0x7fffu) << 13;
  float value;
  std::memcpy(&value, &magnitude, sizeof value);
  value *= 5.192296858534828e+33f;  // 2^112
  return half & 0x8000u ? -value : value;
}
static inline Vec load(const uint16_t* half) {
  return Vec{from_half(half[0]), from_half(half[1]), from_half(half[2]), from_half(half[3])};
}
#endif

// Before another thread may read what was streamed.
static inline void finish_streams() {
#if defined(FASTGAN_STAMP_X86)
  _mm_sfence();
#endif
}

// to[i] = sum of the lanes of from[i], for four vectors.
#if defined(FASTGAN_STAMP_X86) && FASTGAN_VECTOR_FLOATS >= 8
static inline void sums4(const __m256* from, float* to) {
  const __m256 pairs =
      _mm256_hadd_ps(_mm256_hadd_ps(from[0], from[1]), _mm256_hadd_ps(from[2], from[3]));
  _mm_storeu_ps(to, _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1)));
}
#endif
static inline void sums(const Vec* from, float* to) {
#if defined(FASTGAN_STAMP_X86) && FASTGAN_VECTOR_FLOATS == 16
  __m256 halves[4];
  for (int i = 0; i < 4; ++i) {
    halves[i] = _mm256_add_ps(_mm512_castps512_ps256(from[i]), _mm512_extractf32x8_ps(from[i], 1));
  }
  sums4(halves, to);
#elif defined(FASTGAN_STAMP_X86) && FASTGAN_VECTOR_FLOATS == 8
  sums4(from, to);
#else
  for (int i = 0; i < 4; ++i) to[i] = sum(from[i]);
#endif
}

// Asks for a line of memory in the second-level cache. Inlined at once: a function that only does
// this has no effect in the eyes of GCC, which removes calls of it.
static inline __attribute__((always_inline)) void prefetch(const void* p) {
  __builtin_prefetch(p, 0, 2);
}

}  // namespace fastgan::cpu::FASTGAN_STAMPED
