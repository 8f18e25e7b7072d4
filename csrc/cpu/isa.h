// Which instruction set the kernels use: chosen once from the CPU, or forced by
// FASTGAN_CPU_CAPABILITY=default|avx2|avx512. No torch and no std containers in here: code stamped
// for AVX-512 must not leak into inline functions that other files share.
#pragma once

#include <cstdint>

#define FASTGAN_INLINE inline __attribute__((always_inline))

namespace fastgan::cpu {

enum class Isa : int { kDefault = 0, kAvx2 = 1, kAvx512 = 2 };

// The best instruction set that this CPU has (module_cpu.cpp).
Isa detected_isa();
// The instruction set in use: the forced one, or the detected one (module_cpu.cpp).
Isa current_isa();

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define FASTGAN_HAVE_X86_VARIANTS 1
#define FASTGAN_TARGET_AVX2 __attribute__((target("avx2,fma,f16c")))
#if defined(__clang__)
#define FASTGAN_TARGET_AVX512 \
  __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")))
#else
#define FASTGAN_TARGET_AVX512 \
  __attribute__((             \
      target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")))
#endif

template <typename Kernel, typename... Args>
FASTGAN_TARGET_AVX2 void run_avx2(Args... args) {
  Kernel::run(args...);
}

template <typename Kernel, typename... Args>
FASTGAN_TARGET_AVX512 void run_avx512(Args... args) {
  Kernel::run(args...);
}
#endif

template <typename Kernel, typename... Args>
void run_default(Args... args) {
  Kernel::run(args...);
}

// Kernel::run(Args...) compiled for the instruction set in use. Kernel::run and everything that it
// calls must be FASTGAN_INLINE, so that each variant is compiled as a whole. Arguments are passed
// by value: pointers and numbers only.
template <typename Kernel, typename... Args>
auto variant() -> void (*)(Args...) {
#if defined(FASTGAN_HAVE_X86_VARIANTS)
  switch (current_isa()) {
    case Isa::kAvx512:
      return &run_avx512<Kernel, Args...>;
    case Isa::kAvx2:
      return &run_avx2<Kernel, Args...>;
    default:
      break;
  }
#endif
  return &run_default<Kernel, Args...>;
}

// Calls that variant.
template <typename Kernel, typename... Args>
void run(Args... args) {
  variant<Kernel, Args...>()(args...);
}

}  // namespace fastgan::cpu
