// The gradient of the weight of a 3x3 convolution: at each point the product of x and grad_y over
// tiles. A unit computes a slice of the points for a group of tiles, so that its sums stay in the
// second-level cache. Only in a stamped region.
#pragma once

#include "cpu/conv3x3_weight.h"

namespace fastgan::cpu::FASTGAN_STAMPED {

// Rows (channels of x) of one product; divides kLanes, and with kPanel vectors of grad_y the
// accumulators fill at most the registers.
constexpr int kGradRows = kLanes == 16 ? 8 : 4;

static inline int64_t points_plane(const Plan& plan, int64_t blocks) {
  return blocks * plan.strip * kLanes + kPlanePad;
}
static inline int64_t sums_plane(const Plan& plan) {
  return plan.in_blocks * kLanes * plan.out_vecs * kLanes;
}
static inline int64_t sums_size(const GradPlan& plan) {
  return plan.groups * plan.points() * sums_plane(plan);
}
static inline int64_t grad_scratch_size(const GradPlan& plan) {
  const int64_t most = plan.in_blocks > plan.out_vecs ? plan.in_blocks : plan.out_vecs;
  const int64_t planes = points_plane(plan, plan.in_blocks) + points_plane(plan, plan.out_vecs);
  return most * kLanes + plan.points() / plan.slices * planes;
}

// sums[r][n] += sum_t v[t][r] d[n][t] over `count` tiles; d: vectors `step` floats apart.
template <int NV, bool kAdd>
void product_over_tiles(int64_t count, const float* __restrict v, const float* __restrict d,
                        int64_t step, float* __restrict sums) {
  Vec acc[kGradRows][NV];
  FASTGAN_UNROLL
  for (int r = 0; r < kGradRows; ++r) {
    FASTGAN_UNROLL
    for (int n = 0; n < NV; ++n) {
      acc[r][n] = kAdd ? load(sums + (r * NV + n) * kLanes) : splat(0.0f);
    }
  }
  for (int64_t t = 0; t < count; ++t, v += kLanes, d += kLanes) {
    Vec row[NV];
    FASTGAN_UNROLL
    for (int n = 0; n < NV; ++n) row[n] = load(d + n * step);
    FASTGAN_UNROLL
    for (int r = 0; r < kGradRows; ++r) {
      const Vec entry = splat(v[r]);
      FASTGAN_UNROLL
      for (int n = 0; n < NV; ++n) acc[r][n] = fma(entry, row[n], acc[r][n]);
    }
  }
  FASTGAN_UNROLL
  for (int r = 0; r < kGradRows; ++r) {
    FASTGAN_UNROLL
    for (int n = 0; n < NV; ++n) store(sums + (r * NV + n) * kLanes, acc[r][n]);
  }
}

// All channels at one point; sums: [panels][in][vectors of the panel].
template <bool kAdd>
void multiply_tiles(const Plan& plan, int64_t count, const float* v, const float* d, float* sums) {
  const int64_t step = plan.strip * kLanes;
  for (int64_t panel = 0; panel < plan.panels(); ++panel, d += kPanel * step) {
    const int vectors = panel_vectors(plan, panel);
    const auto product =
        vectors == kPanel ? &product_over_tiles<kPanel, kAdd> : &product_over_tiles<1, kAdd>;
    for (int64_t block = 0; block < plan.in_blocks; ++block) {
      for (int r = 0; r < kLanes; r += kGradRows, sums += kGradRows * vectors * kLanes) {
        product(count, v + block * step + r, d, step, sums);
      }
    }
  }
}

// One unit: group of tiles [first, last), points (a, b) with b in [kFirst, kFirst + kCount).
template <typename Filter, int kFirst, int kCount>
void grad_unit(const GradPlan& plan, const float* x, const float* grad_y, float* sums,
               float* scratch, int64_t first, int64_t last) {
  const int64_t most = plan.in_blocks > plan.out_vecs ? plan.in_blocks : plan.out_vecs;
  const int64_t v_plane = points_plane(plan, plan.in_blocks);
  const int64_t d_plane = points_plane(plan, plan.out_vecs);
  std::memset(scratch, 0, most * kLanes * sizeof(float));
  float *v = scratch + most * kLanes, *d = v + Filter::kPoints * kCount * v_plane;
  for (int64_t at = first; at < last; at += plan.strip) {
    const int64_t count = last - at < plan.strip ? last - at : plan.strip;
    tiles_to_points<Filter, OfInput<Filter>, kFirst, kCount>(plan, plan.in, x, at, count, scratch,
                                                             v, v_plane);
    tiles_to_points<Filter, OfGradient<Filter>, kFirst, kCount>(plan, plan.out, grad_y, at, count,
                                                                scratch, d, d_plane);
    for (int a = 0; a < Filter::kPoints; ++a) {
      for (int b = 0; b < kCount; ++b) {
        const int slot = a * kCount + b;
        float* to = sums + (a * Filter::kPoints + kFirst + b) * sums_plane(plan);
        const auto multiply = at == first ? &multiply_tiles<false> : &multiply_tiles<true>;
        multiply(plan, count, v + slot * v_plane, d + slot * d_plane, to);
      }
    }
  }
}

using GradUnit = void (*)(const GradPlan& plan, const float* x, const float* grad_y, float* sums,
                          float* scratch, int64_t first, int64_t last);

template <typename Filter>
GradUnit grad_unit_of(int slices, int slice) {
  constexpr int kAll = Filter::kPoints, kHalf = kAll / 2;
  if (slices == 1) return &grad_unit<Filter, 0, kAll>;
  if (slices == 2) return slice ? &grad_unit<Filter, kHalf, kHalf> : &grad_unit<Filter, 0, kHalf>;
  if constexpr (kAll == 6) {
    if (slices == 3) {
      return slice == 2   ? &grad_unit<Filter, 4, 2>
             : slice == 1 ? &grad_unit<Filter, 2, 2>
                          : &grad_unit<Filter, 0, 2>;
    }
    const GradUnit each[6] = {&grad_unit<Filter, 0, 1>, &grad_unit<Filter, 1, 1>,
                              &grad_unit<Filter, 2, 1>, &grad_unit<Filter, 3, 1>,
                              &grad_unit<Filter, 4, 1>, &grad_unit<Filter, 5, 1>};
    return each[slice];
  } else {
    const GradUnit each[4] = {&grad_unit<Filter, 0, 1>, &grad_unit<Filter, 1, 1>,
                              &grad_unit<Filter, 2, 1>, &grad_unit<Filter, 3, 1>};
    return each[slice];
  }
}

template <typename Filter>
void grad_units(const GradPlan& plan, const float* x, const float* grad_y, float* sums,
                float* scratch, int64_t begin, int64_t end) {
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t group = unit / plan.slices;
    const int64_t first = plan.tiles * group / plan.groups;
    const int64_t last = plan.tiles * (group + 1) / plan.groups;
    grad_unit_of<Filter>(plan.slices, int(unit % plan.slices))(
        plan, x, grad_y, sums + group * plan.points() * sums_plane(plan), scratch, first, last);
  }
}

template <typename Filter>
void grad_finish(const GradPlan& plan, const float* sums, float* grad_weight, int64_t begin,
                 int64_t end) {
  const Taps<Filter> taps;
  const int64_t plane = sums_plane(plan);
  for (int64_t block = begin; block < end; ++block) {
    const int64_t panel = block / plan.in_blocks, first = block % plan.in_blocks * kLanes;
    const int vectors = panel_vectors(plan, panel);
    float w[9 * kBlock * kLanes];
    points_to_weight<Filter>(
        taps, sums + (panel * kPanel * plan.in_blocks * kLanes + first * vectors) * kLanes,
        kLanes * vectors, plane, plan.groups, plan.points() * plane, w);
    const int64_t channels = plan.in - first < kLanes ? plan.in - first : kLanes;
    for (int n = 0; n < vectors; ++n) {
      const int64_t from = (panel * kPanel + n) * kLanes;
      for (int lane = 0; lane < kLanes && from + lane < plan.out; ++lane) {
        float* to = grad_weight + ((from + lane) * plan.in + first) * 9;
        for (int64_t c = 0; c < channels; ++c, to += 9) {
          const float* at = w + (c * vectors + n) * kLanes + lane;
#pragma GCC unroll 9
          for (int k = 0; k < 9; ++k) to[k] = at[k * kBlock * kLanes];
        }
      }
    }
  }
}

}  // namespace fastgan::cpu::FASTGAN_STAMPED
