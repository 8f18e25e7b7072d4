// An upsampling convolution and the one after it in turn, a few rows at a time: the image between
// them, the largest of its level, is never whole, and its rows are read while they are in the cache
// of the core that made them. No torch in here.
#pragma once

#include "engine/layer.h"

namespace fastgan::engine {

class RowPair {
 public:
  // Whether two layers can be computed so; both must be split by rows.
  static bool fits(const Layer& up, const Layer& conv);

  // `width`: of the image between them, in pixels; `row`: floats of one of its rows with the
  // border.
  RowPair(const Layer& up, const Layer& conv, int blocks, int lanes, int width, size_t row);

  size_t scratch_floats(int threads) const;
  // Both calls have what their layers need but scratch and the image between; every thread of the
  // team calls it, as Layer::run.
  void run(Call up_call, Call conv_call) const;

 private:
  size_t ring_floats() const;
  void clear_columns(const View& ring) const;
  void clear_rows(const View& ring, int first, int last) const;
  void make_step(const Call& up_call, const Call& conv_call, RowRun& run, int step) const;

  const Layer& up_;
  const Layer& conv_;
  const int blocks_, lanes_, width_;
  const size_t row_;
  const int step_rows_;  // of the image between
  const int early_;      // rows of conv's tiles in a step that need no row of the next
};

}  // namespace fastgan::engine
