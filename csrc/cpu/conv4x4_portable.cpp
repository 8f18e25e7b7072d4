// The 4x4 convolution with stride 2 stamped for every processor.
#include "cpu/conv4x4_plan.h"
#include "cpu/isa.h"
#include "cpu/stamp_begin.h"
#if defined(FASTGAN_STAMP_ACTIVE)
#include "cpu/conv4x4_kernels.h"
#endif
#include "cpu/stamp_end.h"

namespace fastgan::cpu::conv4x4 {

const Kernels* portable_kernels() {
#if defined(FASTGAN_STAMP_ACTIVE)
  return FASTGAN_STAMPED::kKernels;
#else
  return nullptr;
#endif
}

}  // namespace fastgan::cpu::conv4x4
