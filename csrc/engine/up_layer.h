// 3x3 modulated convolution with 2x upsampling: the transposed convolution with stride 2 by minimal
// filtering, and the separable 4-tap filter after it. Only in a stamped region.
//
// The transposed convolution splits by the parity of its outputs into 2 x 2, 2 x 1, 1 x 2 and 1 x 1
// taps; along an axis of two taps A::kIn + 1 products give A::kIn + 1 outputs. Tiles of the input
// do not overlap, their outputs do, in one row and one column, and are added there. The sums go to
// a ring of rows for each block of output channels, from which the filter takes complete rows.
#pragma once

#include "engine/clock.h"
#include "engine/tile_products.h"
#include "engine/up_ring.h"

namespace fastgan::engine::FASTGAN_STAMPED {

template <typename A, typename W>
class UpLayer final : public Layer {
  static constexpr int kN = A::kIn, kPoints = A::kPoints;
  static constexpr int kHalo = kN == 1 ? 2 : 1;  // rows of tiles that a run needs from above
  static constexpr int kAheadTiles = 4;          // so early is the input asked for
  // Groups of points by the parity of the output's row and column.
  static constexpr int kEven = 0, kMixed = 1, kOdd = 2;

 public:
  UpLayer(const LayerShape& shape, const Choice& choice, const Activation& activation,
          const float* weight, const float* bias)
      : shape_(shape),
        choice_(choice),
        tile_rows_((shape.height + kN - 1) / kN),
        tile_columns_((shape.width + kN - 1) / kN),
        products_(shape, choice, {kPoints * kPoints, 2 * kPoints, 1}, {1, kN, kN * kN}),
        ring_(shape, choice, activation, products_.group(kEven), products_.group(kMixed),
              products_.group(kOdd), bias) {
    for (int o = 0; o < shape.out_channels; ++o) {
      for (int i = 0; i < shape.in_channels; ++i) {
        pack(weight + (size_t(o) * shape.in_channels + i) * 9, o, i);
      }
    }
  }

  size_t weight_bytes() const override { return products_.weight_bytes(); }
  double flops() const override { return products_.flops_per_tile() * tile_rows_ * tile_columns_; }
  int input_overhang_rows() const override { return tile_rows_ * kN - shape_.height; }
  int input_overhang_columns() const override { return tile_columns_ * kN - shape_.width; }
  size_t scratch_floats(int threads) const override {
    return products_.v_floats() * (choice_.split == Split::kTeam ? 2 : threads) +
           products_.m_floats() * threads +
           ring_.floats() * products_.out_blocks() * (choice_.split == Split::kRows ? threads : 1);
  }

  void run(const Call& call) override {
    clear_border(call);
    if (choice_.split == Split::kRows) {
      RowRun run;
      call.queue->start(call.thread, call.samples * tile_rows_);
      for (int row, end; call.queue->take(call.thread, 1, 3, row, end);) {
        make_rows(call, run, row, end);
      }
    } else {
      run_channels(call);
    }
    if (ring_.streams()) finish_streams();
  }

  int tile_rows() const override { return tile_rows_; }
  int rows_per_tile() const override { return 2 * kN; }
  void clear_border(const Call& call) const override {
    zero_border(call, vectors(shape_.out_channels, kLanes), 2 * shape_.height, 2 * shape_.width);
  }
  void make_rows(const Call& call, RowRun& run, int begin, int end) const override {
    StageClock clock(call.stages);
    for (int row = begin; row < end; ++row) make_row(call, run, row, clock);
  }

 private:
  void pack(const float* w, int out, int in) {
    double even[3][kPoints], point[kPoints], column[kPoints];
    for (int x = 0; x < 3; ++x) A::weight(w[x], w[6 + x], even[x]);
    for (int p = 0; p < kPoints; ++p) {
      A::weight(even[0][p], even[2][p], point);
      for (int q = 0; q < kPoints; ++q) {
        set_weight(products_.weight(out, p * kPoints + q, in), point[q]);
      }
      set_weight(products_.weight(out, kPoints * kPoints + p, in), even[1][p]);
    }
    A::weight(w[3], w[5], column);
    for (int q = 0; q < kPoints; ++q) {
      set_weight(products_.weight(out, kPoints * kPoints + kPoints + q, in), column[q]);
    }
    set_weight(products_.weight(out, kPoints * kPoints + 2 * kPoints, in), w[4]);
  }

  // A row that does not follow on the last one begins a run, and the rows above it are transformed
  // once more.
  void make_row(const Call& call, RowRun& run, int row, StageClock& clock) const {
    float* const v =
        call.scratch + products_.m_floats() * call.threads + products_.v_floats() * call.thread;
    float* const m = products_.in_place() ? v : call.scratch + products_.m_floats() * call.thread;
    float* const ring = call.scratch +
                        (products_.m_floats() + products_.v_floats()) * call.threads +
                        ring_.floats() * products_.out_blocks() * call.thread;
    const int sample = row / tile_rows_, y = row % tile_rows_;
    int from = y;
    if (row != run.next || sample != run.sample) {
      from = y > kHalo ? y - kHalo : 0;
      run = {sample, from, y == 0 ? 0 : 2 * kN * y - 2, row};
    }
    // As in ConvLayer::run_rows.
    const bool in_turn = products_.tile_in_place();
    const int first = (row - y + from) * tile_columns_, last = (row + 1) * tile_columns_;
    const int batch = choice_.batch;
    Inputs inputs(*this, call, first, 0, products_.blocks());
    for (int t = first; t < last; t += batch) {
      const int tiles = least(batch, last - t), next = least(batch, last - t - tiles);
      if (!in_turn) {
        for (int b = 0; b < products_.blocks(); ++b) transform_input(call, b, t, 0, tiles, v);
      } else if (t == first) {
        for (int i = 0; i < tiles; ++i) inputs.put(i, v);
      }
      clock.lap(&Stages::input);
      for (int b = 0; b < products_.out_blocks(); ++b) {
        products_.run(b, tiles, v, m);
        clock.lap(&Stages::product);
        TileCursor tile(t, tile_columns_, tile_rows_);
        for (int i = 0; i < tiles; ++i, tile.next()) {
          ring_.add(call, run, b, tile, i, m, ring + ring_.floats() * b);
          if (in_turn && i < next) inputs.put(i, v);
        }
        clock.lap(&Stages::output);
      }
    }
    run.next = row + 1;
  }

  // All tiles by all threads, each with its part of the output channels. A team shares the input
  // channels of each batch, too; else each thread transforms all of them.
  void run_channels(const Call& call) const {
    const bool shared = choice_.split == Split::kTeam;
    const int me = call.thread, team = call.threads,
              last = call.samples * tile_rows_ * tile_columns_;
    float* const m = call.scratch + products_.m_floats() * me;
    float* const v_all = call.scratch + products_.m_floats() * team;
    float* const ring = v_all + (shared ? 2 : team) * products_.v_floats();
    const int blocks = products_.blocks();
    const int first_block = products_.out_blocks() * me / team;
    const int last_block = products_.out_blocks() * (me + 1) / team;
    StageClock clock(call.stages);
    int turn = 0;
    for (int t = 0; t < last; t += choice_.batch, turn ^= 1) {
      const int tiles = least(choice_.batch, last - t);
      float* const v = v_all + products_.v_floats() * (shared ? turn : me);
      const int parts = blocks % team == 0 ? 1 : team, items = blocks * parts;
      for (int i = shared ? items * me / team : 0; i < (shared ? items * (me + 1) / team : items);
           ++i) {
        const int part = i % parts, from = tiles * part / parts;
        transform_input(call, i / parts, t, from, tiles * (part + 1) / parts, v);
      }
      clock.lap(&Stages::input);
      if (shared) call.team->barrier();
      clock.lap(&Stages::wait);
      for (int b = first_block; b < last_block; ++b) {
        products_.run(b, tiles, v, m);
        clock.lap(&Stages::product);
        TileCursor tile(t, tile_columns_, tile_rows_);
        for (int i = 0; i < tiles; ++i, tile.next()) {
          ring_.add(call, {}, b, tile, i, m, ring + ring_.floats() * b);
        }
        clock.lap(&Stages::output);
      }
    }
  }

  // Where the points of one tile go: rows of V of each group, with their offsets from the first.
  struct TileIn {
    float *odd, *mixed, *even;
    const int *odd_offset, *mixed_offset;
    size_t mixed_step, even_step;  // from point to point
  };

  // Tiles on their way in, from tile t of all samples on: input blocks first .. end - 1.
  class Inputs {
   public:
    Inputs(const UpLayer& layer, const Call& call, int t, int first, int end)
        : layer_(layer),
          call_(call),
          first_(first),
          end_(end),
          tile_(t, layer.tile_columns_, layer.tile_rows_) {}

    // The next one, to place i of a batch.
    void put(int i, float* v) {
      const TileProducts<W>& products = layer_.products_;
      const Group &even = products.group(kEven), &mixed = products.group(kMixed);
      const Group& odd = products.group(kOdd);
      const float* styles = call_.styles + size_t(tile_.sample) * products.blocks() * kLanes;
      const float* source = call_.in.at(tile_.sample, first_, tile_.y * kN);
      source += size_t(tile_.x) * kN * kLanes;
      TileIn in;
      in.mixed_step = mixed.v_step, in.even_step = even.v_step;
      in.mixed_offset = mixed.row_offset + i * kN, in.odd_offset = odd.row_offset + i * kN * kN;
      for (int b = first_; b < end_; ++b, source += call_.in.plane) {
        const size_t lanes = size_t(b) * kLanes;
        in.even = v + products.v_offset(even, i) + lanes * even.panel;
        in.mixed = v + mixed.v_first + lanes * mixed.panel;
        in.odd = v + odd.v_first + lanes * odd.panel;
        points_of(source, call_.in.row, load(styles + b * kLanes), in);
      }
      tile_.next();
    }

   private:
    const UpLayer& layer_;
    const Call& call_;
    const int first_, end_;
    TileCursor tile_;
  };

  // Tiles t + from .. t + to - 1 of a batch that begins at tile t, for one block of channels.
  void transform_input(const Call& call, int block, int t, int from, int to, float* v) const {
    Inputs inputs(*this, call, t + from, block, block + 1);
    for (int i = from; i < to; ++i) inputs.put(i, v);
  }

  static FASTGAN_APART void points_of(const float* source, size_t row, Vec style, TileIn to) {
    Vec pixels[kN][kN], points[kPoints][kN], line[kN], transformed[kPoints];
    float* const rows = to.mixed + kPoints * to.mixed_step;  // odd row, even column
    FASTGAN_UNROLL for (int r = 0; r < kN; ++r) {
      FASTGAN_UNROLL for (int c = 0; c < kN; ++c) {
        pixels[r][c] = load(source + r * row + c * kLanes) * style;
        store(to.odd + to.odd_offset[r * kN + c], pixels[r][c]);
        prefetch_near(source + r * row + (c + kAheadTiles * kN) * kLanes);
      }
      A::data(pixels[r], transformed);
      float* const to_v = rows + to.mixed_offset[r];
      FASTGAN_UNROLL for (int q = 0; q < kPoints; ++q) {
        store(to_v + q * to.mixed_step, transformed[q]);
      }
    }
    FASTGAN_UNROLL for (int c = 0; c < kN; ++c) {
      FASTGAN_UNROLL for (int r = 0; r < kN; ++r) line[r] = pixels[r][c];
      A::data(line, transformed);
      float* const to_v = to.mixed + to.mixed_offset[c];
      FASTGAN_UNROLL for (int p = 0; p < kPoints; ++p) {
        points[p][c] = transformed[p];
        store(to_v + p * to.mixed_step, transformed[p]);
      }
    }
    FASTGAN_UNROLL for (int p = 0; p < kPoints; ++p) {
      A::data(points[p], transformed);
      FASTGAN_UNROLL for (int q = 0; q < kPoints; ++q) {
        store(to.even + (p * kPoints + q) * to.even_step, transformed[q]);
      }
    }
  }

  const LayerShape shape_;
  const Choice choice_;
  const int tile_rows_, tile_columns_;
  TileProducts<W> products_;
  UpRing<A> ring_;
};

}  // namespace fastgan::engine::FASTGAN_STAMPED
