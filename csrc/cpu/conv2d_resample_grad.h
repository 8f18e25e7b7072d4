// Gradient of the weight of conv2d_resample: at the points, the sum over tiles of low times S, for
// a block of low and of high channels and a part of the tile rows, so that what is summed into
// stays in a cache; then the sum of the parts, taken from the points to the taps. Parts are split
// by size, never by thread. Only in a stamped region.
#pragma once

#include "cpu/conv2d_resample_down.h"

namespace fastgan::cpu::FASTGAN_STAMPED {

// M[r, n] (+)= sum_k V[k, r] U[k, n] for NV vectors of columns; rows of V and U step by v_step and
// u_step.
template <int R, int NV>
void outer_product(int64_t rows, const float* __restrict v, int64_t v_step,
                   const float* __restrict u, int64_t u_step, float* __restrict m, bool add) {
  Vec acc[R][NV];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) acc[r][n] = add ? load(m + (r * NV + n) * kLanes) : splat(0.0f);
  }
  for (int64_t k = 0; k < rows; ++k, v += v_step, u += u_step) {
    Vec row[NV];
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) row[n] = load(u + n * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vec entry = splat(v[r]);
#pragma GCC unroll 4
      for (int n = 0; n < NV; ++n) acc[r][n] = fma(entry, row[n], acc[r][n]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) store(m + (r * NV + n) * kLanes, acc[r][n]);
  }
}

using OuterProduct = void (*)(int64_t, const float*, int64_t, const float*, int64_t, float*, bool);

template <int NV>
struct OuterProducts {
  OuterProduct of[kMostRows + 1] = {};

  OuterProducts() { fill<max_rows(NV)>(); }

 private:
  template <int R>
  void fill() {
    of[R] = &outer_product<R, NV>;
    if constexpr (R > 1) fill<R - 1>();
  }
};

template <class A>
class WeightGrad {
  using T = Tile<A>;
  // Rows of a power of two would meet in the same few lines of the first-level cache.
  static constexpr int kPad = 16;

 public:
  explicit WeightGrad(const ResampleCall& call)
      : call_(call),
        filtered_(call),
        tiles_(call.step * call.tile_columns()),
        vectors_(column_vectors(call.high)),
        columns_(vectors_ * kLanes),
        low_blocks_(divide_up(call.low, call.low_block)),
        high_blocks_(divide_up(call.high, call.high_block)) {}

  // [part][block of columns][job][low channel][columns of the block]
  int64_t size() const {
    return call_.parts * T::kJobs * static_cast<int64_t>(call_.low) * call_.high;
  }
  int64_t units() const { return call_.parts * low_blocks_ * high_blocks_; }
  int64_t scratch() const {
    return 2 * Plan<A>::table_size(tiles_) + Plan<A>::input_size(tiles_, call_.low_block + kPad) +
           Plan<A>::input_size(tiles_, call_.high_block + kPad) +
           filtered_.scratch(call_.high_block / kLanes);
  }

  void run(const float* low, const float* high, float* points, int64_t begin, int64_t end,
           float* scratch) {
    table_ = reinterpret_cast<int32_t*>(scratch);
    low_points_ = scratch + 2 * Plan<A>::table_size(tiles_);
    high_points_ = low_points_ + Plan<A>::input_size(tiles_, call_.low_block + kPad);
    s_ = high_points_ + Plan<A>::input_size(tiles_, call_.high_block + kPad);
    const int64_t rows = call_.samples * call_.tile_rows();
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t o = unit % high_blocks_ * call_.high_block;
      const int64_t c = unit / high_blocks_ % low_blocks_ * call_.low_block;
      const int64_t part = unit / high_blocks_ / low_blocks_;
      const int outputs = static_cast<int>(least(call_.high_block, call_.high - o));
      const int inputs = static_cast<int>(least(call_.low_block, call_.low - c));
      float* to = points + (part * call_.high + o) * T::kJobs * call_.low + c * columns_;
      const int64_t first = rows * part / call_.parts, last = rows * (part + 1) / call_.parts;
      for (int64_t row = first; row < last; row += call_.step) {
        const int64_t end_row = least(row + call_.step, last);
        build((end_row - row) * call_.tile_columns(), inputs, outputs);
        transform_low(low, c, inputs, row, end_row);
        filtered_.transform(high, o, outputs / kLanes, row, end_row, high_plan_, high_points_, 0,
                            s_);
        for (int64_t i = 0; i < outputs; i += columns_) {
          sum(high_points_ + i, to + i * T::kJobs * call_.low, row > first);
        }
      }
    }
  }

  // The gradient at the taps of low channels [begin, end).
  void finish(const float* points, const ResampleWeight& weight, int64_t begin, int64_t end) const {
    const WeightPoints<A> spread;
    const int64_t part = T::kJobs * static_cast<int64_t>(call_.low) * call_.high;
    float* to = const_cast<float*>(weight.data);
    for (int64_t c = begin; c < end; ++c) {
      for (int64_t o = 0; o < call_.high; o += kLanes) {
        const float* from =
            points + o / columns_ * T::kJobs * call_.low * columns_ + c * columns_ + o % columns_;
        Vec job[T::kJobs], along[3][T::kSide], taps[9], three[3];
        for (int j = 0; j < T::kJobs; ++j) {
          job[j] = load(from + j * call_.low * columns_);
          for (int64_t p = 1; p < call_.parts; ++p) {
            job[j] = job[j] + load(from + p * part + j * call_.low * columns_);
          }
        }
        for (int p = 0; p < T::kSide; ++p) {
          spread.gather(job + p * T::kSide, three);
          for (int x = 0; x < 3; ++x) along[x][p] = three[x];
        }
        for (int x = 0; x < 3; ++x) {
          spread.gather(along[x], three);
          for (int y = 0; y < 3; ++y) taps[3 * y + x] = three[y];
        }
        for (int tap = 0; tap < 9; ++tap) {
          float values[kLanes];
          store(values, taps[tap]);
          float* at = to + c * weight.low + o * weight.high + weight.taps[tap];
          for (int i = 0; i < kLanes; ++i) at[i * weight.high] = values[i];
        }
      }
    }
  }

 private:
  void build(int64_t tiles, int inputs, int outputs) {
    if (tiles == low_plan_.tiles && inputs == inputs_ && outputs == outputs_) return;
    inputs_ = inputs;
    outputs_ = outputs;
    low_plan_.build(tiles, inputs + kPad, 0, table_);
    high_plan_.build(tiles, outputs + kPad, 0, table_ + Plan<A>::table_size(tiles_));
  }

  void transform_low(const float* low, int64_t channel, int channels, int64_t begin, int64_t end) {
    const int64_t down = call_.tile_rows(), across = call_.tile_columns();
    for (int64_t row = begin, tile = 0; row < end; ++row) {
      const float* image = low + row / down * call_.height * call_.width * call_.low;
      for (int64_t x = 0; x < across; ++x, ++tile) {
        low_tile_to_points(call_, image, row % down, x, channel, channels / kLanes, low_plan_,
                           low_points_, tile);
      }
    }
  }

  void sum(const float* high_points, float* to, bool add) const {
    static const OuterProducts<1> one;
    static const OuterProducts<2> two;
    const OuterProduct* products = vectors_ == 2 ? two.of : one.of;
    const int64_t panels = divide_up(inputs_, max_rows(vectors_));
    const int64_t panel = divide_up(inputs_, panels);
    for (int job = 0; job < T::kJobs; ++job, to += call_.low * columns_) {
      const int64_t rows = low_plan_.tiles * T::rows(T::kind(job));
      const float* v = low_points_ + low_plan_.input[job];
      const float* u = high_points + high_plan_.input[job];
      for (int64_t r = 0; r < inputs_; r += panel) {
        products[least(panel, inputs_ - r)](rows, v + r, inputs_ + kPad, u, outputs_ + kPad,
                                            to + r * columns_, add);
      }
    }
  }

  const ResampleCall& call_;
  const FilteredTiles<A> filtered_;
  const int64_t tiles_;
  const int vectors_;
  const int64_t columns_, low_blocks_, high_blocks_;
  int inputs_ = 0, outputs_ = 0;
  Plan<A> low_plan_, high_plan_;
  int32_t* table_ = nullptr;
  float *low_points_ = nullptr, *high_points_ = nullptr, *s_ = nullptr;
};

}  // namespace fastgan::cpu::FASTGAN_STAMPED
