// The 3x3 weight at the points of a tile, and the gradient back from there. In double, because each
// rounding here comes back in every pixel. Only in a stamped region.
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

// One vector of channels: 9 taps to the points, stored `plane` apart.
template <typename Filter>
void weight_to_points(const Taps<Filter>& taps, const float* w, float* u, int64_t plane) {
  constexpr int kPoints = Filter::kPoints;
  WideVec rows[3][kPoints];
  for (int k = 0; k < 3; ++k) {
    const WideVec w0 = widen(load(w + 3 * k * kLanes)), w1 = widen(load(w + (3 * k + 1) * kLanes)),
                  w2 = widen(load(w + (3 * k + 2) * kLanes));
    for (int b = 0; b < kPoints; ++b) {
      rows[k][b] = w0 * taps.of[0][b] + w1 * taps.of[1][b] + w2 * taps.of[2][b];
    }
  }
  for (int a = 0; a < kPoints; ++a) {
    for (int b = 0; b < kPoints; ++b) {
      const WideVec value =
          rows[0][b] * taps.of[0][a] + rows[1][b] * taps.of[1][a] + rows[2][b] * taps.of[2][a];
      store(u + (a * kPoints + b) * plane, narrow(value));
    }
  }
}

// The adjoint of that.
template <typename Filter>
void points_to_weight(const Taps<Filter>& taps, const Vec* u, float* w) {
  constexpr int kPoints = Filter::kPoints;
  WideVec rows[3][kPoints];
  for (int b = 0; b < kPoints; ++b) {
    for (int k = 0; k < 3; ++k) rows[k][b] = widen(u[b]) * taps.of[k][0];
    for (int a = 1; a < kPoints; ++a) {
      const WideVec point = widen(u[a * kPoints + b]);
      for (int k = 0; k < 3; ++k) rows[k][b] += point * taps.of[k][a];
    }
  }
  for (int k = 0; k < 3; ++k) {
    for (int l = 0; l < 3; ++l) {
      WideVec sum = rows[k][0] * taps.of[l][0];
      for (int b = 1; b < kPoints; ++b) sum += rows[k][b] * taps.of[l][b];
      store(w + (3 * k + l) * kLanes, narrow(sum));
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

// Blocks [begin, end) of panels x in_blocks; packed: [panels][points][in][vectors of the panel].
template <typename Filter>
void pack_weight(const Plan& plan, const float* weight, bool transposed, float* packed,
                 int64_t begin, int64_t end) {
  const Taps<Filter> taps;
  const int64_t plane = weight_plane(plan);
  const int64_t to_out = transposed ? 9 : plan.in * 9, to_in = transposed ? plan.out * 9 : 9;
  for (int64_t block = begin; block < end; ++block) {
    const int64_t panel = block / plan.in_blocks, first = block % plan.in_blocks * kLanes;
    const int vectors = panel_vectors(plan, panel);
    float* u = packed + panel * plan.points() * plane + first * vectors * kLanes;
    for (int64_t c = first; c < first + kLanes; ++c) {
      for (int n = 0; n < vectors; ++n, u += kLanes) {
        const int64_t from = (panel * kPanel + n) * kLanes;
        float w[9 * kLanes] = {};
        for (int lane = 0; lane < kLanes && c < plan.in && from + lane < plan.out; ++lane) {
          const float* at = weight + (from + lane) * to_out + c * to_in;
          for (int k = 0; k < 9; ++k) w[k * kLanes + lane] = at[transposed ? 8 - k : k];
        }
        weight_to_points<Filter>(taps, w, u, plane);
      }
    }
  }
}

}  // namespace fastgan::cpu::FASTGAN_STAMPED
