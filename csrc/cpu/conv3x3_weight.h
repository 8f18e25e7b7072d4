// The 3x3 weight at the points of a tile (in double, because each rounding would come back in every
// pixel), and the gradient back from there. Only in a stamped region.
#pragma once

#include "cpu/conv3x3_tiles.h"

namespace fastgan::cpu::FASTGAN_STAMPED {

typedef double WideVec __attribute__((vector_size(FASTGAN_VECTOR_FLOATS * 8)));

static inline WideVec widen(Vec a) { return __builtin_convertvector(a, WideVec); }
static inline Vec narrow(WideVec a) { return __builtin_convertvector(a, Vec); }

// taps[k][p]: what tap k contributes to point p.
template <typename Filter>
struct Taps {
  double of[3][Filter::kPoints];

  Taps() {
    for (int k = 0; k < 3; ++k) {
      double unit[3] = {};
      unit[k] = 1.0;
      Filter::weight(unit, of[k]);
    }
  }
};

// Vectors [count] of output channels: 9 taps w[9][kBlock][kLanes] to the points u, `plane` apart,
// point by point, so that each is written in one go.
constexpr int kBlock = kLanes * kPanel;

template <typename Filter>
void weight_to_points(const Taps<Filter>& taps, const float* w, int count, float* u,
                      int64_t plane) {
  constexpr int kPoints = Filter::kPoints;
  constexpr int kTap = kBlock * kLanes;
  WideVec rows[3][kBlock];
  for (int b = 0; b < kPoints; ++b) {
    const double t0 = taps.of[0][b], t1 = taps.of[1][b], t2 = taps.of[2][b];
    for (int k = 0; k < 3; ++k) {
      const float* row = w + 3 * k * kTap;
      for (int i = 0; i < count; ++i, row += kLanes) {
        rows[k][i] =
            widen(load(row)) * t0 + widen(load(row + kTap)) * t1 + widen(load(row + 2 * kTap)) * t2;
      }
    }
    for (int a = 0; a < kPoints; ++a) {
      const double s0 = taps.of[0][a], s1 = taps.of[1][a], s2 = taps.of[2][a];
      float* to = u + (a * kPoints + b) * plane;
      for (int i = 0; i < count; ++i) {
        store(to + i * kLanes, narrow(rows[0][i] * s0 + rows[1][i] * s1 + rows[2][i] * s2));
      }
    }
  }
}

// The adjoint of that, in single precision, as each sum comes into one result: points, summed over
// `groups` that are `group` floats apart.
template <typename Filter>
void points_to_weight(const Taps<Filter>& taps, const float* u, int count, int64_t plane,
                      int64_t groups, int64_t group, float* w) {
  constexpr int kPoints = Filter::kPoints;
  constexpr int kTap = kBlock * kLanes;
  for (int b = 0; b < kPoints; ++b) {
    Vec rows[3][kBlock];
    for (int a = 0; a < kPoints; ++a) {
      const float s0 = float(taps.of[0][a]), s1 = float(taps.of[1][a]), s2 = float(taps.of[2][a]);
      const float* from = u + (a * kPoints + b) * plane;
      for (int i = 0; i < count; ++i) {
        Vec point = load(from + i * kLanes);
        for (int64_t g = 1; g < groups; ++g) point += load(from + g * group + i * kLanes);
        rows[0][i] = a == 0 ? point * s0 : rows[0][i] + point * s0;
        rows[1][i] = a == 0 ? point * s1 : rows[1][i] + point * s1;
        rows[2][i] = a == 0 ? point * s2 : rows[2][i] + point * s2;
      }
    }
    for (int k = 0; k < 9; ++k) {
      const Vec tap = splat(float(taps.of[k % 3][b]));
      float* to = w + k * kTap;
      for (int i = 0; i < count; ++i, to += kLanes) {
        store(to, b == 0 ? tap * rows[k / 3][i] : fma(tap, rows[k / 3][i], load(to)));
      }
    }
  }
}

// Floats of one point of one panel of the packed weight: [in_blocks * kLanes][kPanel * kLanes].
static inline int64_t weight_plane(const Plan& plan) {
  return plan.in_blocks * kLanes * kPanel * kLanes + kLanes;
}

static inline int panel_vectors(const Plan& plan, int64_t panel) {
  const int64_t left = plan.out_vecs - panel * kPanel;
  return left < kPanel ? int(left) : kPanel;
}

// The 9 taps of one vector of output channels, `lanes` of which there are, to w: [9], kBlock
// vectors apart.
template <bool kFlip>
FASTGAN_INLINE void gather_taps(const float* weight, int64_t to_out, int lanes, float* w) {
  constexpr int kTap = kBlock * kLanes;
  for (int k = 0; k < 9 && lanes < kLanes; ++k) store(w + k * kTap, splat(0.0f));
  for (int lane = 0; lane < lanes; ++lane, weight += to_out) {
#pragma GCC unroll 9
    for (int k = 0; k < 9; ++k) w[k * kTap + lane] = weight[kFlip ? 8 - k : k];
  }
}

// Blocks [begin, end) of panels x in_blocks; packed: [panels][points][in][vectors of the panel].
template <typename Filter, bool kTransposed>
void pack_weight(const Plan& plan, const float* weight, float* packed, int64_t begin, int64_t end) {
  const Taps<Filter> taps;
  const int64_t plane = weight_plane(plan);
  const int64_t to_out = kTransposed ? 9 : plan.in * 9, to_in = kTransposed ? plan.out * 9 : 9;
  for (int64_t block = begin; block < end; ++block) {
    const int64_t panel = block / plan.in_blocks, first = block % plan.in_blocks * kLanes;
    const int vectors = panel_vectors(plan, panel);
    float w[9 * kBlock * kLanes];
    for (int i = 0; i < kLanes * vectors; ++i) {
      const int64_t c = first + i / vectors, from = (panel * kPanel + i % vectors) * kLanes;
      const int64_t left = plan.out - from;
      const int lanes = c >= plan.in ? 0 : left < kLanes ? int(left) : kLanes;
      gather_taps<kTransposed>(weight + from * to_out + c * to_in, to_out, lanes, w + i * kLanes);
    }
    weight_to_points<Filter>(taps, w, kLanes * vectors,
                             packed + panel * plan.points() * plane + first * vectors * kLanes,
                             plane);
  }
}

}  // namespace fastgan::cpu::FASTGAN_STAMPED
