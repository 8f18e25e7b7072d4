// Stores that go around the caches. A plain store first reads the line that it will overwrite, and
// pushes out what a later kernel would have found; for a result larger than the caches both are in
// vain. No torch in here.
#pragma once

#include <cstdint>

#include "cpu/isa.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace fastgan::cpu {

// Results of this size leave the second-level caches of two cores before anyone reads them.
constexpr int64_t kStreamBytes = int64_t{4} << 20;

// to[i] = from[i]. `from` should lie in the first-level cache.
template <typename T>
struct StreamCopy {
  FASTGAN_INLINE static void run(const T* from, T* to, int64_t size) {
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
};

// Orders streamed stores before whatever tells another thread that the result is there.
inline void finish_streaming() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace fastgan::cpu
