// conv2d_resample's kernels with AVX2.
#include "cpu/conv2d_resample_kernel.h"

#define FASTGAN_STAMP_AVX2
#include "cpu/stamp_begin.h"
#if defined(FASTGAN_STAMP_ACTIVE)
#include "cpu/conv2d_resample_stamped.h"
#endif
#include "cpu/stamp_end.h"

namespace fastgan::cpu {

const ResampleKernels* resample_kernels_avx2() {
#if defined(FASTGAN_STAMP_ACTIVE)
  return &avx2::kResampleKernels;
#else
  return nullptr;
#endif
}

}  // namespace fastgan::cpu
