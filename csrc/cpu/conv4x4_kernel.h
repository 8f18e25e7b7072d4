// Products of the 4x4 convolutions down and up, with the weights transformed on the way: a unit
// transforms the weights of a slice of its channels, multiplies all of its tiles by them, and goes
// on to the next slice, all in the second-level cache. Only in a stamped region.
#pragma once

#include "cpu/conv4x4_weight.h"
#include "cpu/gemm_panel.h"

namespace fastgan::cpu::conv4x4::FASTGAN_STAMPED {

using namespace fastgan::cpu::FASTGAN_STAMPED;

// m (+)= v u at one point, for `count` tiles: the rows of the products are as equal as they can be.
template <bool kAdd>
void multiply_point(int64_t count, int vectors, int blocks, const float* v, int64_t block_step,
                    const float* u, float* m) {
  const int64_t most = max_rows(vectors), products = (count + most - 1) / most;
  for (int64_t i = 0, row = 0; i < products; ++i) {
    const int rows = int((count - row + products - i - 1) / (products - i));
    panel_product_of<kAdd, float>(vectors, rows)(blocks, v + row * kLanes, int(block_step), u,
                                                 m + row * vectors * kLanes, {});
    row += rows;
  }
}

// Where a unit of panels x groups lies.
struct Unit {
  int64_t from;  // output channel
  int vectors;
  int64_t group, at, count;  // tiles of the chunk

  Unit(const Plan& plan, int64_t out_blocks, int64_t tiles, int64_t index) {
    const int64_t groups = (tiles + plan.group - 1) / plan.group, panel = index / groups;
    const int64_t left = out_blocks - panel * plan.vectors;
    from = panel * plan.vectors * kLanes;
    vectors = left < plan.vectors ? int(left) : plan.vectors;
    group = index % groups, at = group * plan.group;
    count = tiles - at < plan.group ? tiles - at : plan.group;
  }
};

// The products of one unit over `blocks` blocks of v, into m. `pack` transforms the weights of
// blocks [begin, end).
template <typename Filter, typename Pack>
void multiply_unit(const Plan& plan, const Unit& unit, int64_t blocks, const float* v, float* u,
                   float* m, const Pack& pack) {
  constexpr int kPoints = Filter::kPoints * Filter::kPoints;
  constexpr int64_t kSlice = kSliceChannels / kLanes;
  const int64_t step = plan.pixel_block();
  v += unit.group * blocks * step;
  for (int64_t begin = 0; begin < blocks; begin += kSlice, v += kSlice * step) {
    const int64_t end = begin + kSlice < blocks ? begin + kSlice : blocks;
    pack(begin, end, u);
    const auto multiply = begin == 0 ? &multiply_point<false> : &multiply_point<true>;
    for (int p = 0; p < kPoints; ++p) {
      multiply(unit.count, unit.vectors, int(end - begin), v + p * plan.pixel_plane(), step,
               u + p * plan.weight_plane(), m + p * plan.product_plane());
    }
  }
}

template <typename Filter>
void down_units(const Plan& plan, const float* v, const float* weight, float* y, float* scratch,
                int64_t first, int64_t count, int64_t begin, int64_t end) {
  constexpr int kPoints = Filter::kPoints * Filter::kPoints;
  float *u = scratch, *m = u + kPoints * plan.weight_plane();
  const Phase<float*> to{y, plan.low_height, plan.low_width, plan.low, 1, 0, 0};
  for (int64_t index = begin; index < end; ++index) {
    const Unit unit(plan, plan.low_blocks, count, index);
    multiply_unit<Filter>(plan, unit, plan.high_blocks * kPhases, v, u, m,
                          [&](int64_t from, int64_t until, float* packed) {
                            pack_down<Filter>(plan, weight, from / kPhases, until / kPhases,
                                              unit.from, unit.vectors, packed);
                          });
    points_to_tiles<Filter>(plan, to, m, plan.product_plane(), first + unit.at, unit.count,
                            unit.from, unit.vectors);
  }
}

template <typename Filter>
void up_units(const Plan& plan, int phase, const float* v, const float* weight, float* x,
              float* scratch, int64_t first, int64_t count, int64_t begin, int64_t end) {
  constexpr int kPoints = Filter::kPoints * Filter::kPoints;
  float *u = scratch, *m = u + kPoints * plan.weight_plane();
  const Phase<float*> to{x, plan.height, plan.width, plan.high, 2, phase / 2, phase % 2};
  for (int64_t index = begin; index < end; ++index) {
    const Unit unit(plan, plan.high_blocks, count, index);
    multiply_unit<Filter>(
        plan, unit, plan.low_blocks, v, u, m, [&](int64_t from, int64_t until, float* packed) {
          pack_up<Filter>(plan, phase, weight, from, until, unit.from, unit.vectors, packed);
        });
    points_to_tiles<Filter>(plan, to, m, plan.product_plane(), first + unit.at, unit.count,
                            unit.from, unit.vectors);
  }
}

template <typename Filter>
void high_points(const Plan& plan, const float* x, float* v, int64_t first, int64_t begin,
                 int64_t end) {
  for (int64_t t = begin; t < end; t += kTogether) {
    const int64_t until = t + kTogether < end ? t + kTogether : end;
    for (int phase = 0; phase < kPhases; ++phase) {
      const Phase<const float*> image{x, plan.height,   plan.width,   plan.high,
                                      2, phase / 2 - 1, phase % 2 - 1};
      tiles_to_points<Filter, OfInput<Filter>>(plan, image, plan.high_blocks * kPhases, kPhases,
                                               v + phase * plan.pixel_block(), first, t, until);
    }
  }
}

template <typename Filter>
void low_points(const Plan& plan, int phase, const float* y, float* v, int64_t first, int64_t begin,
                int64_t end) {
  const Phase<const float*> image{y, plan.low_height, plan.low_width, plan.low,
                                  1, phase / 2 - 1,   phase % 2 - 1};
  tiles_to_points<Filter, OfInput<Filter>>(plan, image, plan.low_blocks, 1, v, first, begin, end);
}

}  // namespace fastgan::cpu::conv4x4::FASTGAN_STAMPED
