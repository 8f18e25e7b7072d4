// Finds out what this CPU has. Shared by the extension modules, each of which keeps its own choice.
#pragma once

#include "cpu/isa.h"

namespace fastgan::cpu {

inline const char* const kIsaNames[] = {"default", "avx2", "avx512"};

inline Isa detect_isa() {
#if defined(FASTGAN_HAVE_X86_VARIANTS)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  return avx512 ? Isa::kAvx512 : avx2 ? Isa::kAvx2 : Isa::kDefault;
#else
  return Isa::kDefault;
#endif
}

}  // namespace fastgan::cpu
