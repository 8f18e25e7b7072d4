// 3x3 modulated convolution with stride 1, by minimal filtering with tiles of A::kOut squared.
// Only in a stamped region.
#pragma once

#include "engine/clock.h"
#include "engine/conv_tile.h"
#include "engine/tile_products.h"

namespace fastgan::engine::FASTGAN_STAMPED {

template <typename A, typename W>
class ConvLayer final : public Layer {
  static constexpr int kOut = A::kOut, kIn = A::kIn, kPoints = A::kPoints;

 public:
  ConvLayer(const LayerShape& shape, const Choice& choice, const Activation& activation,
            const float* weight, const float* bias)
      : shape_(shape),
        choice_(choice),
        around_(choice.split == Split::kRows && leaves_caches(shape)),
        tile_(activation),
        tile_rows_((shape.height + kOut - 1) / kOut),
        tile_columns_((shape.width + kOut - 1) / kOut),
        products_(shape, choice, {kPoints * kPoints}, {1}),
        bias_(size_t(vectors(shape.out_channels, kLanes)) * kLanes) {
    for (int o = 0; o < shape.out_channels; ++o) {
      bias_[o] = bias[o];
      for (int i = 0; i < shape.in_channels; ++i) {
        pack(weight + (size_t(o) * shape.in_channels + i) * 9, o, i);
      }
    }
  }

  size_t weight_bytes() const override { return products_.weight_bytes(); }
  double flops() const override { return products_.flops_per_tile() * tile_rows_ * tile_columns_; }
  int input_overhang_rows() const override {
    return tile_rows_ * kOut + kIn - kOut - 1 - shape_.height;
  }
  int input_overhang_columns() const override {
    return tile_columns_ * kOut + kIn - kOut - 1 - shape_.width;
  }
  size_t scratch_floats(int threads) const override {
    return products_.v_floats() * (choice_.split == Split::kTeam ? 2 : threads) +
           products_.m_floats() * threads +
           (choice_.split == Split::kRows ? strip_floats() * group_rows() * threads : 0);
  }

  void run(const Call& call) override {
    clear_border(call);
    const int rows = call.samples * tile_rows_;
    if (choice_.split != Split::kRows) return run_channels(call, rows);
    RowRun run;
    call.queue->start(call.thread, rows);
    for (int begin, end; call.queue->take(call.thread, group_rows(), 1, begin, end);) {
      make_rows(call, run, begin, end);
    }
  }

  int tile_rows() const override { return tile_rows_; }
  int rows_per_tile() const override { return kOut; }
  void clear_border(const Call& call) const override {
    if (call.out.data == nullptr) return;
    zero_border(call, vectors(shape_.out_channels, kLanes), shape_.height, shape_.width);
  }
  void make_rows(const Call& call, RowRun&, int begin, int end) const override {
    for (int row = begin; row < end; row += group_rows()) {
      run_rows(call, row, least(row + group_rows(), end));
    }
  }

 private:
  void pack(const float* w, int out, int in) {
    double columns[kPoints][3], point[kPoints];
    for (int x = 0; x < 3; ++x) {
      const double taps[3] = {w[x], w[3 + x], w[6 + x]};
      A::weight(taps, point);
      for (int p = 0; p < kPoints; ++p) columns[p][x] = point[p];
    }
    for (int p = 0; p < kPoints; ++p) {
      A::weight(columns[p], point);
      for (int q = 0; q < kPoints; ++q) {
        set_weight(products_.weight(out, p * kPoints + q, in), point[q]);
      }
    }
  }

  // Rows of tiles that a thread works on at a time, when it works on its own.
  int group_rows() const {
    return choice_.batch > tile_columns_ ? choice_.batch / tile_columns_ : 1;
  }
  // Where the outputs of such rows go when no image is kept and only a sink looks at them.
  size_t strip_floats() const {
    return size_t(vectors(shape_.out_channels, kLanes)) * kOut * strip_row();
  }
  size_t strip_row() const { return size_t(tile_columns_) * kOut * kLanes; }
  float* strip_of(const Call& call, int row) const {
    float* const strips =
        call.scratch + products_.m_floats() * call.threads + products_.v_floats() * call.threads;
    return strips + strip_floats() * (group_rows() * call.thread + row % group_rows());
  }

  void run_rows(const Call& call, int begin, int end) const {
    StageClock clock(call.stages);
    float* const v =
        call.scratch + products_.m_floats() * call.threads + products_.v_floats() * call.thread;
    float* const m = products_.in_place() ? v : call.scratch + products_.m_floats() * call.thread;
    const int last = end * tile_columns_;
    for (int t = begin * tile_columns_; t < last; t += choice_.batch) {
      const int tiles = least(choice_.batch, last - t);
      for (int b = 0; b < products_.blocks(); ++b) transform_input(call, b, t, 0, tiles, v);
      clock.lap(&Stages::input);
      for (int b = 0; b < products_.out_blocks(); ++b) {
        products_.run(b, tiles, v, m);
        clock.lap(&Stages::product);
        transform_output_of(call, b, t, tiles, m);
        clock.lap(&Stages::output);
      }
    }
    for (int row = begin; row < end && call.sink != nullptr; ++row) tell(call, row);
    clock.lap(&Stages::output);
  }

  // All tiles by all threads, each with its part of the output channels. A team shares the input
  // channels of each batch, too; else each thread transforms all of them.
  void run_channels(const Call& call, int rows) const {
    const bool shared = choice_.split == Split::kTeam;
    const int me = call.thread, team = call.threads, last = rows * tile_columns_;
    float* const m = call.scratch + products_.m_floats() * me;
    const int blocks = products_.blocks(), out_blocks = products_.out_blocks();
    StageClock clock(call.stages);
    int turn = 0;
    for (int t = 0; t < last; t += choice_.batch, turn ^= 1) {
      const int tiles = least(choice_.batch, last - t);
      float* const v =
          call.scratch + products_.m_floats() * team + products_.v_floats() * (shared ? turn : me);
      const int parts = blocks % team == 0 ? 1 : team, items = blocks * parts;
      for (int i = shared ? items * me / team : 0; i < (shared ? items * (me + 1) / team : items);
           ++i) {
        const int part = i % parts;
        transform_input(call, i / parts, t, tiles * part / parts, tiles * (part + 1) / parts, v);
      }
      clock.lap(&Stages::input);
      if (shared) call.team->barrier();
      clock.lap(&Stages::wait);
      for (int b = out_blocks * me / team; b < out_blocks * (me + 1) / team; ++b) {
        products_.run(b, tiles, v, m);
        clock.lap(&Stages::product);
        transform_output_of(call, b, t, tiles, m);
        clock.lap(&Stages::output);
      }
    }
  }

  // Tiles t + from .. t + to - 1 of a batch that begins at tile t, for one block of channels.
  void transform_input(const Call& call, int block, int t, int from, int to, float* v) const {
    const Group& group = products_.group(0);
    const size_t block_step = size_t(block) * group.panel * kLanes;
    const int padded = products_.blocks() * kLanes;
    TileCursor tile(t + from, tile_columns_, tile_rows_);
    Vec style;
    const float* source[kIn];
    bool other_row = true;
    for (int i = from; i < to; ++i, other_row = tile.next()) {
      if (other_row) {
        style = load(call.styles + size_t(tile.sample) * padded + block * kLanes);
        for (int r = 0; r < kIn; ++r) {
          source[r] = call.in.at(tile.sample, block, tile.y * kOut - 1 + r);
          source[r] += (std::ptrdiff_t(tile.x) * kOut - 1) * kLanes;
        }
      }
      ConvTile<A>::points_of(source, style, v + products_.v_offset(group, i) + block_step,
                             group.v_step);
      for (int r = 0; r < kIn; ++r) source[r] += kOut * kLanes;
    }
  }

  void transform_output_of(const Call& call, int block, int t, int tiles, const float* m) const {
    switch (choice_.columns) {
      case 4:
        return transform_output<4>(call, block, t, tiles, m);
      case 3:
        return transform_output<3>(call, block, t, tiles, m);
      case 2:
        return transform_output<2>(call, block, t, tiles, m);
      default:
        return transform_output<1>(call, block, t, tiles, m);
    }
  }

  template <int NV>
  void transform_output(const Call& call, int block, int t, int tiles, const float* m) const {
    const size_t point_step = products_.group(0).m_step;
    const int padded = vectors(shape_.out_channels, kLanes) * kLanes;
    TileCursor tile(t, tile_columns_, tile_rows_);
    for (int i = 0; i < tiles; ++i, tile.next()) {
      const int x = tile.x * kOut, y = tile.y * kOut, sample = tile.sample;
      const bool is_whole = y + kOut <= shape_.height && x + kOut <= shape_.width;
      const bool local = call.out.data == nullptr || goes_around(call);
      ConvTileOut out;
      out.noise = call.noise + call.noise_step * sample + size_t(y) * shape_.width + x;
      out.row = local ? strip_row() : call.out.row;
      out.rows = least(kOut, shape_.height - y), out.columns = least(kOut, shape_.width - x);
      for (int n = 0; n < NV; ++n) {
        const int c = block * NV + n;
        out.scale = call.scales + size_t(sample) * padded + c * kLanes;
        out.bias = bias_.get() + c * kLanes;
        out.to = local ? strip_of(call, sample * tile_rows_ + tile.y) + size_t(c) * kOut * out.row
                       : call.out.at(sample, c, y);
        out.to += size_t(x) * kLanes;
        const float* source = m + (size_t(i) * NV + n) * kLanes;
        is_whole ? tile_.outputs_of(source, point_step, out, shape_.width)
                 : tile_.edge_of(source, point_step, out, shape_.width);
      }
    }
  }

  // Hands a row of tiles to the sink.
  void tell(const Call& call, int row) const {
    const int sample = row / tile_rows_, y = row % tile_rows_ * kOut;
    View rows = call.out, around;
    if (call.out.data != nullptr) rows.data = call.out.at(sample, 0, y);
    if (goes_around(call)) around = rows;
    if (call.out.data == nullptr || goes_around(call)) {
      rows = {strip_of(call, row), strip_row(), size_t(kOut) * strip_row(), 0};
    }
    call.sink->rows(sample, y, least(y + kOut, shape_.height), rows, around);
    if (goes_around(call)) finish_streams();  // the second layer of a pair makes rows without run()
  }

  // By way of a strip, from which the sink copies: a core that only copies waits for the memory.
  bool goes_around(const Call& call) const {
    return around_ && call.out.data != nullptr && call.sink != nullptr;
  }

  const LayerShape shape_;
  const Choice choice_;
  const bool around_;
  const ConvTile<A> tile_;
  const int tile_rows_, tile_columns_;
  TileProducts<W> products_;
  Buffer<float> bias_;
};

}  // namespace fastgan::engine::FASTGAN_STAMPED
