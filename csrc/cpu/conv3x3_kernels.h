// The table of kernels of one instruction set. Only in a stamped region.
#pragma once

#include "cpu/conv3x3_kernel.h"
#include "cpu/conv3x3_weight_grad_kernel.h"

namespace fastgan::cpu::FASTGAN_STAMPED {

template <typename Filter>
void pack_either(const Plan& plan, const float* weight, bool transposed, float* packed,
                 int64_t begin, int64_t end) {
  const auto run = transposed ? &pack_weight<Filter, true> : &pack_weight<Filter, false>;
  run(plan, weight, packed, begin, end);
}

static void pack(const Plan& plan, const float* weight, bool transposed, float* packed,
                 int64_t begin, int64_t end) {
  const auto run = plan.tile == 4 ? &pack_either<Conv4> : &pack_either<Conv2>;
  run(plan, weight, transposed, packed, begin, end);
}

static void strips(const Plan& plan, const float* x, const float* packed, float* y, float* scratch,
                   int64_t begin, int64_t end) {
  const auto run = plan.tile == 4 ? &convolve_strips<Conv4> : &convolve_strips<Conv2>;
  run(plan, x, packed, y, scratch, begin, end);
}

static void units(const GradPlan& plan, const float* x, const float* grad_y, float* sums,
                  float* scratch, int64_t begin, int64_t end) {
  const auto run = plan.tile == 4 ? &grad_units<Conv4> : &grad_units<Conv2>;
  run(plan, x, grad_y, sums, scratch, begin, end);
}

static void finish(const GradPlan& plan, const float* sums, float* grad_weight, int64_t begin,
                   int64_t end) {
  const auto run = plan.tile == 4 ? &grad_finish<Conv4> : &grad_finish<Conv2>;
  run(plan, sums, grad_weight, begin, end);
}

static const conv3x3::Kernels kKernels = {kLanes,  &packed_size, &scratch_size,      &pack,
                                          &strips, &sums_size,   &grad_scratch_size, &units,
                                          &finish};

}  // namespace fastgan::cpu::FASTGAN_STAMPED
