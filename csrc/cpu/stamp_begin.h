// Opens a region that is compiled for one instruction set. Code of several functions and classes is
// stamped so: one file per set defines FASTGAN_STAMP_AVX512, FASTGAN_STAMP_AVX2 or neither (the
// portable version, which compilers turn into SSE2 or NEON), includes this file, then headers that
// open the namespace fastgan::cpu::FASTGAN_STAMPED, then stamp_end.h.
//
// Nothing of the standard library may be included for the first time inside of the region: its
// inline functions, shared with the rest of the program, must not be compiled for one set.
// FASTGAN_STAMP_ACTIVE says whether this compiler can build the region at all.
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(FASTGAN_STAMPED)
#error "one stamp per file"
#endif

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define FASTGAN_STAMP_X86 1
#endif

#if defined(FASTGAN_STAMP_AVX512)
#define FASTGAN_STAMPED avx512
#define FASTGAN_VECTOR_FLOATS 16
#elif defined(FASTGAN_STAMP_AVX2)
#define FASTGAN_STAMPED avx2
#define FASTGAN_VECTOR_FLOATS 8
#else
#define FASTGAN_STAMPED portable
#define FASTGAN_VECTOR_FLOATS 4
#define FASTGAN_STAMP_ACTIVE 1
#endif

#if defined(FASTGAN_STAMP_X86) && !defined(FASTGAN_STAMP_ACTIVE)
#define FASTGAN_STAMP_ACTIVE 1
#if defined(__clang__)
#if FASTGAN_VECTOR_FLOATS == 16
#pragma clang attribute push(                                                    \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl"))), \
    apply_to = function)
#else
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#endif
#else
#pragma GCC push_options
#if FASTGAN_VECTOR_FLOATS == 16
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#else
#pragma GCC target("avx2,fma,f16c")
#endif
#endif
#endif
