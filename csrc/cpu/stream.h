// Stores that go around the caches. A plain store first reads the line that it will overwrite, and
// pushes out what a later kernel would have found; for a result larger than the caches both are in
// vain. No torch in here.
#pragma once

#include <cstdint>

#include "cpu/isa.h"

#if defined(FASTGAN_HAVE_X86_VARIANTS)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace fastgan::cpu {

// Results of more bytes leave the caches before anyone reads them (stream.cpp).
int64_t stream_bytes();

// to[i] = from[i]. `from` should lie in the first-level cache.
template <typename T>
void stream_copy(const T* from, T* to, int64_t size) {
  int64_t i = 0;
#if defined(__SSE2__)
  constexpr int64_t kStep = 16 / sizeof(T);
  for (; i < size && reinterpret_cast<uintptr_t>(to + i) % 16 != 0; ++i) to[i] = from[i];
  for (; i + kStep <= size; i += kStep) {
    _mm_stream_si128(reinterpret_cast<__m128i*>(to + i),
                     _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i)));
  }
#endif
  for (; i < size; ++i) to[i] = from[i];
}

#if defined(FASTGAN_HAVE_X86_VARIANTS)
// The same by whole cache lines: one store fills a write-combining buffer.
template <typename T>
FASTGAN_TARGET_AVX512 void stream_copy_avx512(const T* from, T* to, int64_t size) {
  constexpr int64_t kStep = 64 / sizeof(T);
  int64_t i = 0;
  for (; i < size && reinterpret_cast<uintptr_t>(to + i) % 64 != 0; ++i) to[i] = from[i];
  for (; i + kStep <= size; i += kStep) {
    _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i), _mm512_loadu_si512(from + i));
  }
  for (; i < size; ++i) to[i] = from[i];
}
#endif

template <typename T>
auto stream_copy_variant() -> void (*)(const T*, T*, int64_t) {
#if defined(FASTGAN_HAVE_X86_VARIANTS)
  if (current_isa() == Isa::kAvx512) return &stream_copy_avx512<T>;
#endif
  return &stream_copy<T>;
}

// Orders streamed stores before whatever tells another thread that the result is there.
inline void finish_streaming() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace fastgan::cpu
