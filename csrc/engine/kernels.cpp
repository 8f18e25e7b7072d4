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

const Kernels& kernels_of(cpu::Isa isa) {
#if defined(FASTGAN_HAVE_X86_VARIANTS)
  if (isa == cpu::Isa::kAvx512) return avx512::kKernels;
  if (isa == cpu::Isa::kAvx2) return avx2::kKernels;
#endif
  (void)isa;
  return portable::kKernels;
}

}  // namespace fastgan::engine
