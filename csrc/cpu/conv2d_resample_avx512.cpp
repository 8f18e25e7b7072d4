// conv2d_resample's kernels with AVX-512.
#include "cpu/conv2d_resample_kernel.h"

#define FASTGAN_STAMP_AVX512
#include "cpu/stamp_begin.h"
#if defined(FASTGAN_STAMP_ACTIVE)
#include "cpu/conv2d_resample_stamped.h"
#endif
#include "cpu/stamp_end.h"

namespace fastgan::cpu {

const ResampleKernels* resample_kernels_avx512() {
#if defined(FASTGAN_STAMP_ACTIVE)
  return &avx512::kResampleKernels;
#else
  return nullptr;
#endif
}

}  // namespace fastgan::cpu
