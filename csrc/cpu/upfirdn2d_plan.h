// What an upfirdn2d call computes once: phases, packed weights, whether the filter separates.
// No torch in here, and no code that runs per pixel (that is upfirdn2d_kernel.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "cpu/upfirdn2d_kernel.h"

namespace fastgan::cpu::upfirdn2d {

// floor(a / b) and the matching remainder, for b > 0 and any sign of a.
inline int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }
inline int64_t floor_mod(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }
inline int64_t greatest_divisor(int64_t a, int64_t b) {
  return b == 0 ? a : greatest_divisor(b, a % b);
}

// One axis of a call, in the caller's words.
struct AxisCall {
  int64_t size, up, down, pad_before, pad_after, taps;

  int64_t out() const { return (size * up + pad_before + pad_after - taps + down) / down; }
};

// Tap k of output o lies on upsampled position o * down - pad_before + k; it meets input sample i
// when that is i * up.
class AxisPlan {
 public:
  explicit AxisPlan(const AxisCall& call) : call_(call) {
    const int64_t common = greatest_divisor(call.up, call.down);
    axis_.in = call.size;
    axis_.out = call.out();
    axis_.period = call.up / common;
    axis_.step = call.down / common;
    axis_.first = -floor_div(call.pad_before, call.up);
    axis_.weights = 0;
    for (int64_t q = 0; q < axis_.period; ++q) {
      const int64_t position = q * call.down - call.pad_before;
      const int64_t tap = floor_mod(-position, call.up);  // the first that meets a sample
      const int64_t taps = std::max<int64_t>((call.taps - tap + call.up - 1) / call.up, 0);
      phases_.push_back({floor_div(position + tap, call.up) - axis_.first, taps, axis_.weights});
      first_taps_.push_back(tap);
      axis_.weights += taps;
    }
    set_range();
  }

  Axis axis() const {
    Axis axis = axis_;
    axis.phases = phases_.data();
    return axis;
  }
  const std::vector<Phase>& phases() const { return phases_; }
  int64_t most_taps() const { return most_taps_; }

  // Index in the filter of tap `j` of phase `q`.
  int64_t tap(int64_t q, int64_t j) const { return first_taps_[q] + j * call_.up; }

 private:
  // Which inputs the outputs see. A phase may start beyond the last one when out < period.
  void set_range() {
    axis_.padded = 0;
    most_taps_ = 0;
    for (int64_t q = 0; q < axis_.period; ++q) {
      const Phase& phase = phases_[q];
      most_taps_ = std::max(most_taps_, phase.taps);
      if (q >= axis_.out) continue;
      const int64_t last = (axis_.out - 1 - q) / axis_.period * axis_.step;
      axis_.padded = std::max(axis_.padded, phase.start + last + phase.taps);
    }
    axis_.begin = std::clamp<int64_t>(axis_.first, 0, axis_.in);
    axis_.end = std::clamp<int64_t>(axis_.first + axis_.padded, axis_.begin, axis_.in);
  }

  AxisCall call_;
  Axis axis_;
  int64_t most_taps_ = 0;
  std::vector<Phase> phases_;
  std::vector<int64_t> first_taps_;
};

// A filter as taps of a correlation, in double: [height, width], or its two factors.
struct Taps {
  int64_t height, width;
  bool separable;
  std::vector<double> full;         // [height * width], not separable
  std::vector<double> column, row;  // separable: full[y][x] = column[y] * row[x]
};

// Whether full[y][x] = column[y] * row[x], each to the relative error `tolerance`.
inline bool is_product(const std::vector<double>& full, const std::vector<double>& column,
                       const std::vector<double>& row, double tolerance) {
  for (size_t y = 0; y < column.size(); ++y) {
    for (size_t x = 0; x < row.size(); ++x) {
      const double value = full[y * row.size() + x];
      // Written so that NaN is no product.
      if (!(std::abs(value - column[y] * row[x]) <= tolerance * std::abs(value))) return false;
    }
  }
  return true;
}

// Makes a 2-D filter separable when it is an outer product. The factors are the sums over rows and
// over columns (exact for binomial taps), or the cross through the largest tap when they vanish.
inline void separate(Taps& taps, double tolerance) {
  const int64_t height = taps.height, width = taps.width;
  std::vector<double> column(height, 0), row(width, 0);
  double total = 0;
  int64_t largest = 0;
  for (int64_t i = 0; i < height * width; ++i) {
    column[i / width] += taps.full[i];
    row[i % width] += taps.full[i];
    total += taps.full[i];
    if (std::abs(taps.full[i]) > std::abs(taps.full[largest])) largest = i;
  }
  for (double& value : row) value /= total;
  if (!is_product(taps.full, column, row, tolerance)) {
    for (int64_t y = 0; y < height; ++y) column[y] = taps.full[y * width + largest % width];
    for (int64_t x = 0; x < width; ++x) {
      row[x] = taps.full[largest / width * width + x] / taps.full[largest];
    }
    if (!is_product(taps.full, column, row, tolerance)) return;
  }
  taps.separable = true;
  taps.column = column;
  taps.row = row;
}

// The parts of Params that depend on the filter and the sizes; owns what Params points to.
//
// Packed weights. Separable: those of vertical phase q start at y.phases[q].at, of horizontal phase
// q at x.phases[q].at. Not separable: the block of vertical phase qy starts at
// y.phases[qy].at * x.weights; inside it phase qx starts at y.phases[qy].taps * x.phases[qx].at and
// holds [vertical tap][horizontal tap].
template <typename A>
class Plan {
 public:
  Plan(const AxisCall& x, const AxisCall& y, const Taps& taps, double gain, int64_t inner)
      : x_(x), y_(y) {
    params_.x = x_.axis();
    params_.y = y_.axis();
    params_.inner = inner;
    params_.separable = taps.separable;
    set_block();
    if (taps.separable) {
      pack(y_, taps.column, gain, rows_);
      pack(x_, taps.row, 1.0, columns_);
    } else {
      pack_pairs(taps, gain);
    }
    for (const Phase& phase : x_.phases()) {
      for (int64_t j = 0; j < phase.taps; ++j) reads_.push_back(position(phase.start + j));
    }
    params_.rows = rows_.data();
    params_.columns = columns_.data();
    params_.reads = reads_.data();
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  // planes and the strides of x are left to the caller.
  Params<A> params() const { return params_; }

  // Input rows that meet some tap of `rows` neighbouring output rows, at most.
  int64_t input_rows(int64_t rows) const {
    const Axis& y = params_.y;
    return ((rows - 1) * y.step + y.period - 1) / y.period + 1 + y_.most_taps();
  }

  int64_t most_sources() const {
    return std::max((params_.separable ? 1 : y_.most_taps()) * x_.most_taps(), y_.most_taps());
  }

 private:
  // As many output rows as leave the lines in the first-level cache, but at least so many that
  // lines which neighbouring blocks share do not dominate.
  void set_block() {
    constexpr int64_t kBudget = 16384 / sizeof(A);
    Params<A>& p = params_;
    p.halves = p.separable && p.inner == 1 && p.x.period == 1 && p.x.step == 2 &&
               x_.most_taps() == HalveLines<A>::kTaps;
    const bool split = p.inner == 1 && p.x.step > 1 && !p.halves;
    p.stream = split ? (p.x.padded + p.x.step - 1) / p.x.step : 0;
    p.line = split ? p.stream * p.x.step : p.x.padded * p.inner;
    const int64_t row = std::max<int64_t>({p.line, p.x.out * p.inner, 1});
    const int64_t least = p.separable ? 4 : std::max<int64_t>(4, y_.most_taps());
    p.block = std::min(std::max(kBudget / row, least), std::max<int64_t>(p.y.out, 1));
    p.block_lines = p.separable ? p.block : input_rows(p.block);
  }

  int64_t position(int64_t index) const {
    const Params<A>& p = params_;
    if (p.stream == 0) return index * p.inner;
    return index % p.x.step * p.stream * p.block_lines + index / p.x.step;
  }

  static void pack(const AxisPlan& axis, const std::vector<double>& taps, double gain,
                   std::vector<A>& weights) {
    for (size_t q = 0; q < axis.phases().size(); ++q) {
      for (int64_t j = 0; j < axis.phases()[q].taps; ++j) {
        weights.push_back(static_cast<A>(taps[axis.tap(q, j)] * gain));
      }
    }
  }

  void pack_pairs(const Taps& taps, double gain) {
    for (size_t qy = 0; qy < y_.phases().size(); ++qy) {
      for (size_t qx = 0; qx < x_.phases().size(); ++qx) {
        for (int64_t jy = 0; jy < y_.phases()[qy].taps; ++jy) {
          const double* line = taps.full.data() + y_.tap(qy, jy) * taps.width;
          for (int64_t jx = 0; jx < x_.phases()[qx].taps; ++jx) {
            columns_.push_back(static_cast<A>(line[x_.tap(qx, jx)] * gain));
          }
        }
      }
    }
  }

  AxisPlan x_, y_;
  Params<A> params_{};
  std::vector<A> rows_, columns_;
  std::vector<int64_t> reads_;
};

// Owns one thread's Workspace. Only the padding of the lines has to start as zero.
template <typename T>
class WorkspaceOwner {
 public:
  using A = acc_t<T>;

  WorkspaceOwner(const Plan<A>& plan, const Params<A>& p) : sources_(plan.most_sources()) {
    const bool half = !std::is_same_v<T, A>, merges = p.inner == 1 && p.x.period > 1;
    const int64_t width = (p.x.end - p.x.begin) * p.inner;
    const int64_t lines = p.block_lines * p.line;
    const int64_t inputs = half && p.separable ? plan.input_rows(p.block) * width : 0;
    const int64_t outputs = half || merges ? p.block * (p.x.out + p.x.period) * p.inner : 0;
    const int64_t merged = p.streams ? p.block * p.x.out : 0;
    memory_.resize(lines * (p.stream > 0 ? 2 : 1) + inputs + outputs + merged);
    view_.lines = memory_.data();
    view_.streams = view_.lines + lines;
    view_.inputs = view_.streams + (p.stream > 0 ? lines : 0);
    view_.outputs = view_.inputs + inputs;
    view_.merged = view_.outputs + outputs;
    view_.sources = sources_.data();
  }
  WorkspaceOwner(const WorkspaceOwner&) = delete;
  WorkspaceOwner& operator=(const WorkspaceOwner&) = delete;

  const Workspace<A>& view() const { return view_; }

 private:
  std::vector<A> memory_;
  std::vector<const A*> sources_;
  Workspace<A> view_{};
};

}  // namespace fastgan::cpu::upfirdn2d
