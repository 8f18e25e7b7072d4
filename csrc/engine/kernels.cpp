#include "engine/kernels.h"

namespace fastgan::engine {

namespace portable {
extern const Kernels kKernels;
}
#if defined(FASTGAN_HAVE_X86_VARIANTS)
namespace avx2 {
extern const Kernels kKernels;
}
namespace avx512 {
extern const Kernels kKernels;
}
#endif

namespace {

bool is_amd() {
#if defined(FASTGAN_HAVE_X86_VARIANTS)
  static const bool found = [] {
    __builtin_cpu_init();
    return __builtin_cpu_is("amd") != 0;
  }();
  return found;
#else
  return false;
#endif
}

}  // namespace

bool far_weights_pass_by() { return is_amd(); }

bool shuffles_are_free() { return is_amd(); }

const Kernels& kernels_of(cpu::Isa isa) {
#if defined(FASTGAN_HAVE_X86_VARIANTS)
  if (isa == cpu::Isa::kAvx512) return avx512::kKernels;
  if (isa == cpu::Isa::kAvx2) return avx2::kKernels;
#endif
  (void)isa;
  return portable::kKernels;
}

}  // namespace fastgan::engine
