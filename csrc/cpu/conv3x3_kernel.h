// The 3x3 convolution of one strip of tiles: to points, a product over channels at each point, and
// back. Only in a stamped region.
#pragma once

#include "cpu/conv3x3_weight.h"
#include "cpu/gemm_panel.h"

namespace fastgan::cpu::FASTGAN_STAMPED {

// Layouts of a strip: v [points][in / kLanes][strip][kLanes], m [points][strip][kPanel][kLanes].
static inline int64_t input_plane(const Plan& plan) {
  return plan.in_blocks * plan.strip * kLanes + kPlanePad;
}
static inline int64_t product_plane(const Plan& plan) {
  return plan.strip * kPanel * kLanes + kPlanePad;
}

static inline int64_t packed_size(const Plan& plan) {
  return plan.panels() * plan.points() * weight_plane(plan);
}

static inline int64_t scratch_size(const Plan& plan) {
  return plan.in_blocks * kLanes + plan.points() * (input_plane(plan) + product_plane(plan));
}

// m = v u at one point, for `count` tiles: the rows of the products are as equal as they can be.
static inline void multiply_point(const Plan& plan, int64_t count, int vectors, const float* v,
                                  const float* u, float* m, const float* next) {
  const int64_t most = max_rows(vectors), products = (count + most - 1) / most;
  ReadAhead ahead(next, size_t(plan.in_blocks) * kLanes * vectors * kLanes * sizeof(float));
  for (int64_t i = 0, row = 0; i < products; ++i) {
    const int rows = int((count - row + products - i - 1) / (products - i));
    panel_product_of<false, float>(vectors, rows)(
        int(plan.in_blocks), v + row * kLanes, int(plan.strip * kLanes), u,
        m + row * vectors * kLanes, ahead.take(int(products - i), int(plan.in_blocks)));
    row += rows;
  }
}

template <typename Filter>
void convolve_strips(const Plan& plan, const float* x, const float* packed, float* y,
                     float* scratch, int64_t begin, int64_t end) {
  constexpr int kPoints = Filter::kPoints * Filter::kPoints;
  const int64_t u_plane = weight_plane(plan), v_plane = input_plane(plan);
  const int64_t m_plane = product_plane(plan), zeros = plan.in_blocks * kLanes;
  std::memset(scratch, 0, zeros * sizeof(float));
  float *v = scratch + zeros, *m = v + kPoints * v_plane;
  for (int64_t strip = begin; strip < end; ++strip) {
    const int64_t first = strip * plan.strip, left = plan.tiles - first;
    const int64_t count = left < plan.strip ? left : plan.strip;
    tiles_to_points<Filter, OfInput<Filter>, 0, Filter::kPoints>(plan, plan.in, x, first, count,
                                                                 scratch, v, v_plane);
    for (int64_t panel = 0; panel < plan.panels(); ++panel) {
      const int vectors = panel_vectors(plan, panel);
      for (int p = 0; p < kPoints; ++p) {
        const float* u = packed + (panel * kPoints + p) * u_plane;
        multiply_point(plan, count, vectors, v + p * v_plane, u, m + p * m_plane, u + u_plane);
      }
      points_to_tiles<Filter>(plan, m, m_plane, first, count, panel * kPanel * kLanes, vectors, y);
    }
  }
}

}  // namespace fastgan::cpu::FASTGAN_STAMPED
