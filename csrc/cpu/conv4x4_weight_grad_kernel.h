// The gradient of the weight of a 4x4 convolution with stride 2: at each point the product of the
// high and the low image over tiles. A unit computes a block of high channels with its phases and a
// panel of low ones. Only in a stamped region.
#pragma once

#include "cpu/conv4x4_weight.h"

namespace fastgan::cpu::conv4x4::FASTGAN_STAMPED {

using namespace fastgan::cpu::FASTGAN_STAMPED;

// High channels of one product; divides kLanes, and with two vectors of low channels the
// accumulators fill at most the registers.
constexpr int kGradRows = kLanes == 16 ? 8 : 4;

template <typename Filter>
void grad_points(const Plan& plan, const float* y, float* d, int64_t first, int64_t begin,
                 int64_t end) {
  const Phase<const float*> image{y, plan.low_height, plan.low_width, plan.low, 1, 0, 0};
  tiles_to_points<Filter, OfGradient<Filter>>(plan, image, plan.low_blocks, 1, d, first, begin,
                                              end);
}

// sums[r][n] (+)= sum_t v[t][r] d[n][t] over `count` tiles; d: vectors `step` floats apart; sums:
// rows `row` floats apart.
template <int NV, bool kAdd>
void product_over_tiles(int64_t count, const float* __restrict v, const float* __restrict d,
                        int64_t step, float* __restrict sums, int64_t row) {
  Vec acc[kGradRows][NV];
  FASTGAN_UNROLL
  for (int r = 0; r < kGradRows; ++r) {
    FASTGAN_UNROLL
    for (int n = 0; n < NV; ++n) acc[r][n] = kAdd ? load(sums + r * row + n * kLanes) : splat(0.0f);
  }
  for (int64_t t = 0; t < count; ++t, v += kLanes, d += kLanes) {
    Vec line[NV];
    FASTGAN_UNROLL
    for (int n = 0; n < NV; ++n) line[n] = load(d + n * step);
    FASTGAN_UNROLL
    for (int r = 0; r < kGradRows; ++r) {
      const Vec entry = splat(v[r]);
      FASTGAN_UNROLL
      for (int n = 0; n < NV; ++n) acc[r][n] = fma(entry, line[n], acc[r][n]);
    }
  }
  FASTGAN_UNROLL
  for (int r = 0; r < kGradRows; ++r) {
    FASTGAN_UNROLL
    for (int n = 0; n < NV; ++n) store(sums + r * row + n * kLanes, acc[r][n]);
  }
}

template <bool kAdd>
void multiply_tiles(int64_t count, int vectors, const float* v, const float* d, int64_t step,
                    float* sums) {
  const int64_t row = int64_t{vectors} * kLanes;
  for (int n = 0; n < vectors; n += 2) {
    const auto product =
        vectors - n > 1 ? &product_over_tiles<2, kAdd> : &product_over_tiles<1, kAdd>;
    for (int k = 0; k < kPhases * kLanes; k += kGradRows) {
      product(count, v + k / kLanes * step + k % kLanes, d + n * step, step,
              sums + k * row + n * kLanes, row);
    }
  }
}

// Where a unit lies.
struct GradUnit {
  int64_t block, panel;
  int vectors;

  GradUnit(const Plan& plan, int64_t index) {
    const int64_t all = panels(plan.low_blocks, plan.vectors);
    block = index / all, panel = index % all;
    const int64_t left = plan.low_blocks - panel * plan.vectors;
    vectors = left < plan.vectors ? int(left) : plan.vectors;
  }
};

template <typename Filter>
void grad_unit(const Plan& plan, const float* v, const float* d, float* sums, int64_t index,
               int64_t count, bool add) {
  const GradUnit unit(plan, index);
  const int64_t step = plan.pixel_block(), plane = plan.pixel_plane();
  v += unit.block * kPhases * step, d += unit.panel * plan.vectors * step;
  for (int64_t at = 0; at < count; at += plan.group) {
    const int64_t some = count - at < plan.group ? count - at : plan.group;
    const auto multiply = add || at > 0 ? &multiply_tiles<true> : &multiply_tiles<false>;
    for (int p = 0; p < Filter::kPoints * Filter::kPoints; ++p) {
      multiply(some, unit.vectors, v + p * plane, d + p * plane, step, sums + p * plan.sum_plane());
    }
    v += plan.high_blocks * kPhases * step, d += plan.low_blocks * step;
  }
}

template <typename Filter>
void grad_finish(const Plan& plan, const float* sums, float* grad_weight, int64_t index) {
  const GradUnit unit(plan, index);
  const int64_t row = int64_t{unit.vectors} * kLanes;
  for (int k = 0; k < lanes_of(plan.high, unit.block * kLanes); ++k) {
    const int64_t c = unit.block * kLanes + k;
    for (int n = 0; n < unit.vectors; ++n) {
      const int64_t o = (unit.panel * plan.vectors + n) * kLanes;
      Vec taps[kTaps];
      for (int phase = 0; phase < kPhases; ++phase) {
        points_to_taps<Filter>(sums + (phase * kLanes + k) * row + n * kLanes, plan.sum_plane(),
                               phase, taps);
      }
      scatter_taps(taps, lanes_of(plan.low, o), grad_weight + (o * plan.high + c) * kTaps,
                   plan.high * kTaps);
    }
  }
}

}  // namespace fastgan::cpu::conv4x4::FASTGAN_STAMPED
