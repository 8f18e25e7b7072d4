// One vector of floats, as wide as the instruction set of the stamp, and the few functions on it
// that the operators +, -, * of the compiler's vectors do not give. Only in a stamped region.
#pragma once

// Of a function that works on as many vectors as there are registers: inlined into a loop it would
// share them with what the compiler moves out of that loop.
#define FASTGAN_APART __attribute__((noinline))

// Before a loop over vectors that are to stay in registers.
#define FASTGAN_UNROLL _Pragma("GCC unroll 8")

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
static inline __attribute__((always_inline)) void sums(const Vec* from, float* to) {
#if defined(FASTGAN_STAMP_X86) && FASTGAN_VECTOR_FLOATS == 16
  __m256 halves[4];
  FASTGAN_UNROLL for (int i = 0; i < 4; ++i) {
    halves[i] = _mm256_add_ps(_mm512_castps512_ps256(from[i]), _mm512_extractf32x8_ps(from[i], 1));
  }
  sums4(halves, to);
#elif defined(FASTGAN_STAMP_X86) && FASTGAN_VECTOR_FLOATS == 8
  sums4(from, to);
#else
  for (int i = 0; i < 4; ++i) to[i] = sum(from[i]);
#endif
}

// to[step * c + i] = sum of the lanes of from[c][i], for four vectors of each of C rows, C up to 4.
template <int C>
static inline __attribute__((always_inline)) void row_sums(const Vec (*from)[4], float* to,
                                                           size_t step) {
#if defined(FASTGAN_STAMP_X86) && FASTGAN_VECTOR_FLOATS == 16
  if constexpr (C > 1) {
    // Quarter c of whole[i]: four partial sums of from[c][i].
    __m512 whole[4];
    FASTGAN_UNROLL for (int i = 0; i < 4; ++i) {
      const __m512 a = from[0][i], b = from[1][i];
      const __m512 c = C > 2 ? from[C > 2 ? 2 : 0][i] : _mm512_setzero_ps();
      const __m512 d = C > 3 ? from[C > 3 ? 3 : 0][i] : _mm512_setzero_ps();
      const __m512 ab = _mm512_shuffle_f32x4(a, b, 0x44) + _mm512_shuffle_f32x4(a, b, 0xee);
      const __m512 cd = _mm512_shuffle_f32x4(c, d, 0x44) + _mm512_shuffle_f32x4(c, d, 0xee);
      whole[i] = _mm512_shuffle_f32x4(ab, cd, 0x88) + _mm512_shuffle_f32x4(ab, cd, 0xdd);
    }
    __m512 pairs[2];
    FASTGAN_UNROLL for (int i = 0; i < 2; ++i) {
      const __m512 a = whole[2 * i], b = whole[2 * i + 1];
      pairs[i] = _mm512_shuffle_ps(a, b, 0x44) + _mm512_shuffle_ps(a, b, 0xee);
    }
    const __m512 sums =
        _mm512_shuffle_ps(pairs[0], pairs[1], 0x88) + _mm512_shuffle_ps(pairs[0], pairs[1], 0xdd);
    _mm_storeu_ps(to, _mm512_castps512_ps128(sums));
    _mm_storeu_ps(to + step, _mm512_extractf32x4_ps(sums, 1));
    if constexpr (C > 2) _mm_storeu_ps(to + 2 * step, _mm512_extractf32x4_ps(sums, 2));
    if constexpr (C > 3) _mm_storeu_ps(to + 3 * step, _mm512_extractf32x4_ps(sums, 3));
    return;
  }
#endif
  FASTGAN_UNROLL for (int c = 0; c < C; ++c) sums(from[c], to + c * step);
}

// Lanes of a and b in turn: to[0] has those of their lower halves.
static inline __attribute__((always_inline)) void interleave(Vec a, Vec b, Vec* to) {
#if defined(FASTGAN_STAMP_X86) && FASTGAN_VECTOR_FLOATS == 16
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high =
      _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  to[0] = _mm512_permutex2var_ps(a, low, b), to[1] = _mm512_permutex2var_ps(a, high, b);
#elif defined(FASTGAN_STAMP_X86) && FASTGAN_VECTOR_FLOATS == 8
  const __m256 low = _mm256_unpacklo_ps(a, b), high = _mm256_unpackhi_ps(a, b);
  to[0] = _mm256_permute2f128_ps(low, high, 0x20);
  to[1] = _mm256_permute2f128_ps(low, high, 0x31);
#else
  to[0] = Vec{a[0], b[0], a[1], b[1]}, to[1] = Vec{a[2], b[2], a[3], b[3]};
#endif
}

// Quarters of vectors, where these have sixteen lanes.
constexpr bool kQuarters = kLanes == 16;
#if defined(FASTGAN_STAMP_X86) && FASTGAN_VECTOR_FLOATS == 16
// GCC warns of the intrinsics without a mask, which leave undefined what no lane takes.
constexpr __mmask16 kWhole = 0xffff;
// Quarter p of to[j] = quarter (p + j) % 4 of from[p]: quarters change vectors first, in their
// places, where a core blends faster than it shuffles.
static inline __attribute__((always_inline)) void turn_quarters(const Vec* from, Vec* to) {
  constexpr __mmask16 kHalf = 0xff00, kOdd = 0xf0f0;
  const __m512 a = _mm512_mask_blend_ps(kHalf, from[0], from[2]);
  const __m512 b = _mm512_mask_blend_ps(kHalf, from[2], from[0]);
  const __m512 c = _mm512_mask_blend_ps(kHalf, from[1], from[3]);
  const __m512 d = _mm512_mask_blend_ps(kHalf, from[3], from[1]);
  const __m512 one = _mm512_mask_blend_ps(kOdd, d, a), two = _mm512_mask_blend_ps(kOdd, b, d);
  const __m512 three = _mm512_mask_blend_ps(kOdd, c, b);
  to[0] = _mm512_mask_blend_ps(kOdd, a, c);
  to[1] = _mm512_shuffle_f32x4(one, one, 0x39);
  to[2] = _mm512_shuffle_f32x4(two, two, 0x4e);
  to[3] = _mm512_shuffle_f32x4(three, three, 0x93);
}
// Four floats in every quarter.
static inline Vec load_quarter(const float* p) {
  return _mm512_maskz_broadcast_f32x4(kWhole, _mm_loadu_ps(p));
}
// Lane i of each quarter, four times.
template <int i>
static inline Vec lane_of_quarters(Vec a) {
  return _mm512_maskz_permute_ps(kWhole, a, i * 0x55);
}
// Lane 4 p + g: the sum of quarter p of from[g].
static inline __attribute__((always_inline)) Vec quarter_sums(const Vec* from) {
  constexpr __mmask16 kHigh = 0xcccc;
  const __m512 a =
      _mm512_mask_blend_ps(kHigh, from[0], from[1]) + _mm512_shuffle_ps(from[0], from[1], 0x4e);
  const __m512 b =
      _mm512_mask_blend_ps(kHigh, from[2], from[3]) + _mm512_shuffle_ps(from[2], from[3], 0x4e);
  return _mm512_shuffle_ps(a, b, 0x88) + _mm512_shuffle_ps(a, b, 0xdd);
}
// to[3 i + c] = round(lane i of from[c]), of values from 0 to 255.
static inline __attribute__((always_inline)) void store_triples(uint8_t* to, const Vec* from) {
  const __m512i a = _mm512_cvtps_epi32(from[0]), b = _mm512_cvtps_epi32(from[1]);
  const __m512i c = _mm512_cvtps_epi32(from[2]);
  const __m512i triples = a | _mm512_slli_epi32(b, 8) | _mm512_slli_epi32(c, 16);
  const __m512i together = _mm512_maskz_broadcast_i32x4(
      kWhole, _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
  const __m512i order = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15);
  _mm512_mask_storeu_epi32(to, 0xfff,
                           _mm512_permutexvar_epi32(order, _mm512_shuffle_epi8(triples, together)));
}
#else  // nobody calls these
void turn_quarters(const Vec* from, Vec* to);
Vec load_quarter(const float* p);
template <int i>
Vec lane_of_quarters(Vec a);
Vec quarter_sums(const Vec* from);
void store_triples(uint8_t* to, const Vec* from);
#endif

// Asks for a line of memory in the second-level cache. Inlined at once: a function that only does
// this has no effect in the eyes of GCC, which removes calls of it.
static inline __attribute__((always_inline)) void prefetch(const void* p) {
  __builtin_prefetch(p, 0, 2);
}
// The same for the first-level cache.
static inline __attribute__((always_inline)) void prefetch_near(const void* p) {
  __builtin_prefetch(p, 0, 3);
}
// The same for what is read once: it leaves the caches first, and AMD's third level never sees it.
static inline __attribute__((always_inline)) void prefetch_once(const void* p) {
  __builtin_prefetch(p, 0, 0);
}

}  // namespace fastgan::cpu::FASTGAN_STAMPED
