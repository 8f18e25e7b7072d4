// upfirdn2d on blocks of output rows, torch-free. Vertical pass: weighted sums of input rows become
// padded lines. Horizontal pass: weighted sums of shifted columns of the lines become the output.
// Polyphase: inserted zeros are never read. A filter that does not separate copies input rows into
// the lines and sums over both directions at once.
//
// Only the kernels called through run<> touch every pixel; this class runs a few times per block.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "cpu/stream.h"
#include "cpu/upfirdn2d_kernel.h"

namespace fastgan::cpu::upfirdn2d {

template <typename T>
class Blocks {
 public:
  using A = acc_t<T>;
  static constexpr int64_t kAhead = 512;  // elements

  Blocks(const Params<A>& params, const Workspace<A>& workspace) : p_(params), w_(workspace) {}

  // Output rows [top, top + rows) of one plane (of one image when channels are innermost), at most
  // Params::block of them.
  void compute(const T* image, T* out, int64_t top, int64_t rows) const {
    const Group all{p_.columns, 1, 0, 1, 0, 1, rows};
    if (p_.x.end <= p_.x.begin || p_.y.end <= p_.y.begin) {
      std::fill(out, out + rows * p_.x.out * p_.inner, store<T>(A(0)));
      return;
    }
    if (p_.separable) {
      sum_rows(image, top, rows);
      if (p_.halves) {
        cpu::run<HalveLines<A>>(static_cast<const A*>(w_.lines) + p_.reads[0], p_.line, p_.columns,
                                unmerged(out), rows, p_.x.out);
      } else {
        split(rows);
        sum_columns(all, out);
      }
    } else {
      const int64_t first = read_lines(image, top, rows);
      for (int64_t q = 0; q < p_.y.period && q < rows; ++q) {
        const Phase& phase = phase_of(top + q);
        sum_columns({p_.columns + phase.at * p_.x.weights, phase.taps, row_under(top + q) - first,
                     p_.y.step, q, p_.y.period, group_size(rows, q)},
                    out);
      }
    }
    finish(out, rows);
  }

 private:
  // Output rows that see the same vertical taps, and the lines they sum.
  struct Group {
    const A* weights;
    int64_t taps;                 // lines per output row: 1 after a vertical pass
    int64_t line, line_step;      // first line of the first row; lines from row to row
    int64_t row, row_step, rows;  // output rows, counted in the block
  };

  const Phase& phase_of(int64_t oy) const { return p_.y.phases[oy % p_.y.period]; }

  // Input row under the first vertical tap of output row `oy`; it may lie outside the image.
  int64_t row_under(int64_t oy) const {
    return p_.y.first + phase_of(oy).start + oy / p_.y.period * p_.y.step;
  }

  // How many of `rows` output rows have the phase of row q.
  int64_t group_size(int64_t rows, int64_t q) const {
    return (rows - q + p_.y.period - 1) / p_.y.period;
  }

  int64_t width() const { return (p_.x.end - p_.x.begin) * p_.inner; }
  A* interior(int64_t line) const {
    return w_.lines + line * p_.line + (p_.x.begin - p_.x.first) * p_.inner;
  }
  // Elements between lines, as the horizontal pass sees them.
  int64_t pitch() const { return p_.stream > 0 ? p_.stream : p_.line; }

  // Input rows [first, last) meet some tap of the block; they may lie outside the image.
  int64_t last_row(int64_t top, int64_t rows) const {
    const int64_t bottom = top + rows - 1;
    return row_under(bottom) + phase_of(bottom).taps;
  }

  // Vertical pass, one line per output row.
  void sum_rows(const T* image, int64_t top, int64_t rows) const {
    const A* source;
    int64_t row_step = p_.x_row;
    if constexpr (std::is_same_v<T, A>) {
      source = image + p_.x.begin * p_.inner;
    } else {
      const int64_t first = std::max<int64_t>(row_under(top), 0);
      const int64_t count = std::min(last_row(top, rows), p_.y.in) - first;
      const T* from = image + first * p_.x_row + p_.x.begin * p_.inner;
      cpu::run<CopyRows<T, A>>(from, p_.x_row, w_.inputs, width(), count, width());
      source = w_.inputs - first * width();
      row_step = width();
    }
    for (int64_t q = 0; q < p_.y.period && q < rows; ++q) {
      sum_group(source, row_step, row_under(top + q), phase_of(top + q), q, group_size(rows, q));
    }
  }

  // Rows under the image's edges lose taps and go one by one, the others together.
  //
  // Short rows defeat the hardware's prefetcher (measured at 64 pixels: 2.0 to 0.9 ms for down2 of
  // 8x64x64x64, one thread), so the next ones are asked for early.
  void sum_group(const A* source, int64_t row_step, int64_t under, const Phase& phase, int64_t line,
                 int64_t rows) const {
    const int64_t step = p_.y.step, room = p_.y.in - phase.taps - under;
    const int64_t from = std::min(under < 0 ? (-under + step - 1) / step : 0, rows);
    const int64_t to = std::clamp(room < 0 ? 0 : room / step + 1, from, rows);
    const int64_t ahead = p_.inner == 1 ? kAhead : 0;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t row = under + r * step;
      const int64_t count = r >= from && r < to ? to - r : 0;
      const int64_t lost = std::max<int64_t>(-row, 0);
      const int64_t taps = std::min(phase.taps, p_.y.in - row) - lost;
      if (count > 1 && p_.halves && step == 2 && p_.y.period == 1 && phase.taps == 4) {
        cpu::run<HalveRows<A>>(source + row * row_step, row_step, p_.rows, interior(line + r),
                               p_.line, count / 2 * 2, width(), ahead);
        r += count / 2 * 2 - 1;
        continue;
      }
      for (int64_t j = 0; j < taps; ++j) w_.sources[j] = source + (row + lost + j) * row_step;
      const Runs runs{std::max<int64_t>(count, 1),
                      step * row_step,
                      p_.y.period * p_.line,
                      1,
                      0,
                      0,
                      width(),
                      ahead};
      cpu::run<WeightedSum<A>>(w_.sources, p_.rows + phase.at + lost, std::max<int64_t>(taps, 0),
                               interior(line + r * p_.y.period), &runs);
      if (count > 1) r += count - 1;
    }
  }

  // Copies the input rows of the block into lines, zeros for those outside the image. Returns the
  // row of line 0.
  int64_t read_lines(const T* image, int64_t top, int64_t rows) const {
    const int64_t first = row_under(top), last = std::max(last_row(top, rows), first);
    const int64_t begin = std::clamp<int64_t>(0, first, last);
    const int64_t end = std::clamp(p_.y.in, begin, last);
    for (int64_t row = first; row < last; ++row) {
      if (row >= begin && row < end) continue;
      std::fill(interior(row - first), interior(row - first) + width(), A(0));
    }
    const T* from = image + begin * p_.x_row + p_.x.begin * p_.inner;
    cpu::run<CopyRows<T, A>>(from, p_.x_row, interior(begin - first), p_.line, end - begin,
                             width());
    split(last - first);
    return first;
  }

  void split(int64_t lines) const {
    if (p_.stream == 0) return;
    cpu::run<SplitStreams<A>>(static_cast<const A*>(w_.lines), w_.streams,
                              p_.stream * p_.block_lines, p_.x.step, lines * p_.stream);
  }

  bool merges() const { return p_.inner == 1 && p_.x.period > 1; }
  int64_t phase_size() const { return (p_.x.out + p_.x.period - 1) / p_.x.period; }

  // Horizontal pass over one group, phase by phase.
  void sum_columns(const Group& group, T* out) const {
    const A* lines = (p_.stream > 0 ? w_.streams : w_.lines) + group.line * pitch();
    for (int64_t q = 0; q < p_.x.period && q < p_.x.out; ++q) {
      const Phase& phase = p_.x.phases[q];
      for (int64_t r = 0; r < group.taps; ++r) {
        for (int64_t j = 0; j < phase.taps; ++j) {
          w_.sources[r * phase.taps + j] = lines + r * pitch() + p_.reads[phase.at + j];
        }
      }
      const Runs runs = runs_of(group, (p_.x.out - q + p_.x.period - 1) / p_.x.period);
      A* target =
          merges() ? w_.outputs + q * p_.block * phase_size() : unmerged(out) + q * p_.inner;
      cpu::run<WeightedSum<A>>(w_.sources, group.weights + group.taps * phase.at,
                               group.taps * phase.taps, target + group.row * target_row(), &runs);
    }
  }

  // Where the horizontal pass of whole rows writes: into the output unless that is a half type.
  A* unmerged(T* out) const {
    if constexpr (std::is_same_v<T, A>) {
      return out;
    } else {
      return w_.outputs;
    }
  }

  int64_t target_row() const { return merges() ? phase_size() : p_.x.out * p_.inner; }

  // Outputs of one phase: neighbours in memory, or one run per vector of channels.
  Runs runs_of(const Group& group, int64_t count) const {
    const int64_t source_row = group.line_step * pitch();
    const int64_t row = group.row_step * target_row();
    if (p_.inner == 1 || (p_.x.period == 1 && p_.x.step == 1)) {
      return {group.rows, source_row, row, 1, 0, 0, count * p_.inner, 0};
    }
    const int64_t source_step = p_.x.step * p_.inner, target_step = p_.x.period * p_.inner;
    return {group.rows, source_row, row, count, source_step, target_step, p_.inner, 0};
  }

  // Brings the block's outputs from the workspace into `out`, where they are not there already.
  void finish(T* out, int64_t rows) const {
    const int64_t pitch = p_.block * phase_size();
    const A* from = w_.outputs;
    if (p_.streams) {
      cpu::run<MergePhases<A, A>>(from, pitch, p_.x.period, w_.merged, rows * p_.x.out);
      stream_copy_variant<A>()(w_.merged, reinterpret_cast<A*>(out), rows * p_.x.out);
    } else if (merges() && p_.x.out % p_.x.period == 0) {
      cpu::run<MergePhases<A, T>>(from, pitch, p_.x.period, out, rows * p_.x.out);
    } else if (merges()) {
      for (int64_t r = 0; r < rows; ++r) {
        cpu::run<MergePhases<A, T>>(from + r * phase_size(), pitch, p_.x.period, out + r * p_.x.out,
                                    p_.x.out);
      }
    } else if constexpr (!std::is_same_v<T, A>) {
      cpu::run<CopyRows<A, T>>(from, int64_t{0}, out, int64_t{0}, int64_t{1},
                               rows * p_.x.out * p_.inner);
    }
  }

  const Params<A>& p_;
  const Workspace<A>& w_;
};

}  // namespace fastgan::cpu::upfirdn2d
