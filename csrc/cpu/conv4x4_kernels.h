// The table of kernels of one instruction set. Only in a stamped region.
#pragma once

#include "cpu/conv4x4_kernel.h"
#include "cpu/conv4x4_weight_grad_kernel.h"

namespace fastgan::cpu::conv4x4::FASTGAN_STAMPED {

using namespace fastgan::cpu::FASTGAN_STAMPED;

template <typename Filter>
constexpr Kernels table() {
  return {kLanes,
          &high_points<Filter>,
          &low_points<Filter>,
          &grad_points<Filter>,
          &down_units<Filter>,
          &up_units<Filter>,
          &grad_unit<Filter>,
          &grad_finish<Filter>};
}

// For tiles of 2 and of 4.
static const Kernels kKernels[2] = {table<Pair2>(), table<Pair4>()};

}  // namespace fastgan::cpu::conv4x4::FASTGAN_STAMPED
