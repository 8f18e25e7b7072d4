// conv2d_resample's kernels for any CPU.
#include "cpu/conv2d_resample_kernel.h"

#include "cpu/stamp_begin.h"
#if defined(FASTGAN_STAMP_ACTIVE)
#include "cpu/conv2d_resample_stamped.h"
#endif
#include "cpu/stamp_end.h"

namespace fastgan::cpu {

const ResampleKernels* resample_kernels_portable() {
#if defined(FASTGAN_STAMP_ACTIVE)
  return &portable::kResampleKernels;
#else
  return nullptr;
#endif
}

}  // namespace fastgan::cpu
