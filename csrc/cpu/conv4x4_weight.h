// The 4x4 weight [low, high, 4, 4] at the points of the tiles of a phase, and the gradient back
// from there. Only in a stamped region.
#pragma once

#include "cpu/conv4x4_tiles.h"

namespace fastgan::cpu::conv4x4::FASTGAN_STAMPED {

using namespace fastgan::cpu::FASTGAN_STAMPED;

constexpr int kTaps = 16;
constexpr int kAhead = 4;  // weights that are asked for in advance

#if FASTGAN_VECTOR_FLOATS == 16
#define FASTGAN_FIRST_HALVES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define FASTGAN_LAST_HALVES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif FASTGAN_VECTOR_FLOATS == 8
#define FASTGAN_FIRST_HALVES 0, 8, 1, 9, 2, 10, 3, 11
#define FASTGAN_LAST_HALVES 4, 12, 5, 13, 6, 14, 7, 15
#else
#define FASTGAN_FIRST_HALVES 0, 4, 1, 5
#define FASTGAN_LAST_HALVES 2, 6, 3, 7
#endif

// Transposes a square of vectors: each step interleaves the first with the last half of the rows.
static FASTGAN_INLINE void transpose(Vec* square) {
  FASTGAN_UNROLL
  for (int step = 1; step < kLanes; step *= 2) {
    Vec next[kLanes];
#pragma GCC unroll 8
    for (int i = 0; i < kLanes / 2; ++i) {
      const Vec x = square[i], y = square[i + kLanes / 2];
#if defined(__clang__)
      next[2 * i] = __builtin_shufflevector(x, y, FASTGAN_FIRST_HALVES);
      next[2 * i + 1] = __builtin_shufflevector(x, y, FASTGAN_LAST_HALVES);
#else
      typedef int32_t Indices __attribute__((vector_size(FASTGAN_VECTOR_FLOATS * 4)));
      next[2 * i] = __builtin_shuffle(x, y, Indices{FASTGAN_FIRST_HALVES});
      next[2 * i + 1] = __builtin_shuffle(x, y, Indices{FASTGAN_LAST_HALVES});
#endif
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) square[i] = next[i];
  }
}

// taps[k]: tap k of `lanes` weights that are `step` floats apart.
static inline void gather_taps(const float* weight, int64_t step, int lanes, Vec* taps) {
  for (int from = 0; from < kTaps; from += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      if (from == 0 && lane < lanes) __builtin_prefetch(weight + lane * step + kAhead * kTaps);
      taps[from + lane] = lane < lanes ? load(weight + lane * step + from) : splat(0.0f);
    }
    transpose(taps + from);
  }
}

static inline void scatter_taps(Vec* taps, int lanes, float* weight, int64_t step) {
  for (int from = 0; from < kTaps; from += kLanes) {
    transpose(taps + from);
    for (int lane = 0; lane < lanes; ++lane) store(weight + lane * step + from, taps[from + lane]);
  }
}

// Which tap of a row or column meets pixel 0 or 1 of a phase. Down, phase a is of the pixels
// 2 i + a - 1; up, output 2 i + a is computed from the pixels i + a - 1 and i + a.
template <bool kUp>
constexpr int tap_of(int phase, int pixel) {
  return kUp ? 3 - phase - 2 * pixel : phase + 2 * pixel;
}

// The taps of a phase to points u, `plane` apart.
template <typename Filter, bool kUp>
FASTGAN_INLINE void taps_to_points(const Vec* taps, int phase, float* u, int64_t plane) {
  constexpr int kPoints = Filter::kPoints;
  Vec columns[2][kPoints];
  const int y = phase / 2, x = phase % 2;
  const Vec* const first = taps + 4 * tap_of<kUp>(y, 0);
  const Vec* const last = taps + 4 * tap_of<kUp>(y, 1);
  FASTGAN_UNROLL
  for (int j = 0; j < 2; ++j) {
    Filter::weight(first[tap_of<kUp>(x, j)], last[tap_of<kUp>(x, j)], columns[j]);
  }
  FASTGAN_UNROLL
  for (int p = 0; p < kPoints; ++p) {
    Vec points[kPoints];
    Filter::weight(columns[0][p], columns[1][p], points);
    FASTGAN_UNROLL
    for (int q = 0; q < kPoints; ++q) store(u + (p * kPoints + q) * plane, points[q]);
  }
}

// The adjoint of that, of the phases of the high-resolution image.
template <typename Filter>
FASTGAN_INLINE void points_to_taps(const float* u, int64_t plane, int phase, Vec* taps) {
  constexpr int kPoints = Filter::kPoints;
  Vec rows[kPoints][2];
  FASTGAN_UNROLL
  for (int p = 0; p < kPoints; ++p) {
    Vec points[kPoints];
    FASTGAN_UNROLL
    for (int q = 0; q < kPoints; ++q) points[q] = load(u + (p * kPoints + q) * plane);
    Filter::weight_adjoint(points, rows[p]);
  }
  FASTGAN_UNROLL
  for (int j = 0; j < 2; ++j) {
    Vec column[kPoints], both[2];
    FASTGAN_UNROLL
    for (int p = 0; p < kPoints; ++p) column[p] = rows[p][j];
    Filter::weight_adjoint(column, both);
    const int x = tap_of<false>(phase % 2, j);
    taps[4 * tap_of<false>(phase / 2, 0) + x] = both[0];
    taps[4 * tap_of<false>(phase / 2, 1) + x] = both[1];
  }
}

static inline int lanes_of(int64_t channels, int64_t from) {
  const int64_t left = channels - from;
  return left <= 0 ? 0 : left < kLanes ? int(left) : kLanes;
}

// Blocks [begin, end) of the high channels with their phases, for `vectors` vectors of low channels
// from `from` on; u: [points][blocks][phases][kLanes][vectors][kLanes].
template <typename Filter>
void pack_down(const Plan& plan, const float* weight, int64_t begin, int64_t end, int64_t from,
               int vectors, float* u) {
  const int64_t plane = plan.weight_plane(), row = int64_t{vectors} * kLanes;
  for (int64_t block = begin; block < end; ++block, u += kPhases * kLanes * row) {
    for (int k = 0; k < kLanes; ++k) {
      const int64_t c = block * kLanes + k;
      for (int n = 0; n < vectors; ++n) {
        const int64_t o = from + n * kLanes;
        Vec taps[kTaps];
        gather_taps(weight + (o * plan.high + c) * kTaps, plan.high * kTaps,
                    c < plan.high ? lanes_of(plan.low, o) : 0, taps);
        float* const to = u + k * row + n * kLanes;
        for (int phase = 0; phase < kPhases; ++phase) {
          taps_to_points<Filter, false>(taps, phase, to + phase * kLanes * row, plane);
        }
      }
    }
  }
}

// Blocks [begin, end) of the low channels at one phase, for `vectors` vectors of high channels from
// `from` on; u: [points][blocks][kLanes][vectors][kLanes].
template <typename Filter>
void pack_up(const Plan& plan, int phase, const float* weight, int64_t begin, int64_t end,
             int64_t from, int vectors, float* u) {
  const int64_t plane = plan.weight_plane();
  for (int64_t c = begin * kLanes; c < end * kLanes; ++c) {
    for (int n = 0; n < vectors; ++n, u += kLanes) {
      const int64_t o = from + n * kLanes;
      Vec taps[kTaps];
      gather_taps(weight + (c * plan.high + o) * kTaps, kTaps,
                  c < plan.low ? lanes_of(plan.high, o) : 0, taps);
      taps_to_points<Filter, true>(taps, phase, u, plane);
    }
  }
}

}  // namespace fastgan::cpu::conv4x4::FASTGAN_STAMPED
