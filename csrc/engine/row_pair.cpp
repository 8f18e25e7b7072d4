#include "engine/row_pair.h"

#include <algorithm>
#include <cstring>

namespace fastgan::engine {

namespace {

constexpr int kRingRows = 16;  // a power of two

}  // namespace

bool RowPair::fits(const Layer& up, const Layer& conv) {
  const int rows = up.rows_per_tile(), tile = conv.rows_per_tile();
  return (rows == 4 || rows == 8) && tile > 1 && rows % tile == 0 &&
         conv.input_overhang_rows() < rows;
}

RowPair::RowPair(const Layer& up, const Layer& conv, int blocks, int lanes, int width, size_t row)
    : up_(up),
      conv_(conv),
      blocks_(blocks),
      lanes_(lanes),
      width_(width),
      row_(row),
      step_rows_(up.rows_per_tile()),
      early_((step_rows_ - 3) / conv.rows_per_tile()) {}

size_t RowPair::ring_floats() const { return row_ * kRingRows * blocks_ + lanes_; }

size_t RowPair::scratch_floats(int threads) const {
  return up_.scratch_floats(threads) + conv_.scratch_floats(threads) + ring_floats() * threads;
}

void RowPair::clear_columns(const View& ring) const {
  for (int block = 0; block < blocks_; ++block) {
    for (int y = 0; y < kRingRows; ++y) {
      float* const first = ring.at(0, block, y) - lanes_;
      float* const end = first + size_t(1 + width_) * lanes_;
      std::memset(first, 0, sizeof(float) * lanes_);
      std::memset(end, 0, sizeof(float) * (row_ - size_t(1 + width_) * lanes_));
    }
  }
}

void RowPair::clear_rows(const View& ring, int first, int last) const {
  for (int block = 0; block < blocks_; ++block) {
    for (int y = first; y < last; ++y) {
      std::memset(ring.at(0, block, y), 0, sizeof(float) * width_ * lanes_);
    }
  }
}

// A step is a row of up's tiles and the rows of conv's tiles that lie in it. Up completes the rows
// until three before the end of its tiles, the last ones of the image until the end, and conv reads
// one row beyond its tiles on either side. So the first tiles of a step are made before up goes one
// row of tiles ahead for the others; of 8-row steps 13 rows of the ring are in use then, else 9.
void RowPair::make_step(const Call& up_call, const Call& conv_call, RowRun& run, int step) const {
  const int up_tiles = up_.tile_rows(), conv_tiles = conv_.tile_rows();
  const int sample = step / up_tiles, y = step % up_tiles;
  const int per_step = step_rows_ / conv_.rows_per_tile();
  const int first = sample * conv_tiles + y * per_step;
  const int end = sample * conv_tiles + std::min((y + 1) * per_step, conv_tiles);
  const int early = std::min(first + early_, end);
  RowRun unused;
  if (run.next != step + 1) up_.make_rows(up_call, run, step, step + 1);
  if (y == 0) clear_rows(up_call.out, -1, 0);
  if (y + 1 < up_tiles) {
    conv_.make_rows(conv_call, unused, first, early);
    up_.make_rows(up_call, run, step + 1, step + 2);
    conv_.make_rows(conv_call, unused, early, end);
  } else {
    const int below = conv_tiles * conv_.rows_per_tile() + 1;
    clear_rows(up_call.out, below - conv_.input_overhang_rows(), below);
    conv_.make_rows(conv_call, unused, first, end);
  }
}

void RowPair::run(Call up_call, Call conv_call) const {
  const int threads = up_call.threads;
  conv_call.scratch = up_call.scratch + up_.scratch_floats(threads);
  float* const rings = conv_call.scratch + conv_.scratch_floats(threads);
  View ring;
  ring.data = rings + ring_floats() * up_call.thread + lanes_;
  ring.row = row_, ring.plane = row_ * kRingRows, ring.mask = kRingRows - 1;
  up_call.out = conv_call.in = ring;
  clear_columns(ring);
  conv_.clear_border(conv_call);
  RowRun run;
  up_call.queue->start(up_call.thread, up_call.samples * up_.tile_rows());
  for (int step, end; up_call.queue->take(up_call.thread, 1, 2, step, end);) {
    make_step(up_call, conv_call, run, step);
  }
}

}  // namespace fastgan::engine
