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

  // Where a tile's products lie in the place of its own points, tiles go out and in in turn, to
  // lines that have just been read.
  void run_rows(const Call& call, int begin, int end) const {
    StageClock clock(call.stages);
    float* const v =
        call.scratch + products_.m_floats() * call.threads + products_.v_floats() * call.thread;
    const int last = end * tile_columns_, batch = choice_.batch;
    const bool in_turn = products_.tile_in_place();
    Inputs inputs(*this, call, begin * tile_columns_, 0, products_.blocks());
    for (int t = begin * tile_columns_; t < last; t += batch) {
      const int tiles = least(batch, last - t), next = least(batch, last - t - tiles);
      if (!in_turn) {
        for (int b = 0; b < products_.blocks(); ++b) transform_input(call, b, t, 0, tiles, v);
      } else if (t == begin * tile_columns_) {
        for (int i = 0; i < tiles; ++i) inputs.put(i, v);
      }
      clock.lap(&Stages::input);
      float* const m = products_.in_place() ? v : call.scratch + products_.m_floats() * call.thread;
      for (int b = 0; b < products_.out_blocks(); ++b) {
        products_.run(b, tiles, v, m);
        clock.lap(&Stages::product);
        Outputs outputs(*this, call, t, b);
        for (int i = 0; i < tiles; ++i) {
          outputs.put(i, m);
          if (in_turn && i < next) inputs.put(i, v);
        }
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
        Outputs outputs(*this, call, t, b);
        for (int i = 0; i < tiles; ++i) outputs.put(i, m);
        clock.lap(&Stages::output);
      }
    }
  }

  // Tiles on their way in, from tile t of all samples on: input blocks first .. end - 1.
  class Inputs {
   public:
    Inputs(const ConvLayer& layer, const Call& call, int t, int first, int end)
        : layer_(layer),
          call_(call),
          group_(layer.products_.group(0)),
          first_(first),
          end_(end),
          tile_(t, layer.tile_columns_, layer.tile_rows_) {
      find();
    }

    // The next one, to place i of a batch in `v`.
    FASTGAN_INLINE void put(int i, float* v) {
      const size_t block_step = size_t(group_.panel) * kLanes;
      float* const to = v + group_.v_first + group_.row_offset[i];
      for (int b = first_; b < end_; ++b) {
        ConvTile<A>::points_of(rows_, at_ + b * call_.in.plane, load(styles_ + b * kLanes),
                               to + b * block_step, group_.v_step);
      }
      at_ += kOut * kLanes;
      if (tile_.next()) find();
    }

   private:
    void find() {
      styles_ = call_.styles + size_t(tile_.sample) * layer_.products_.blocks() * kLanes;
      for (int r = 0; r < kIn; ++r) {
        rows_[r] = call_.in.at(tile_.sample, 0, tile_.y * kOut - 1 + r) - kLanes;
      }
      at_ = size_t(tile_.x) * kOut * kLanes;
    }

    const ConvLayer& layer_;
    const Call& call_;
    const Group group_;
    const int first_, end_;
    TileCursor tile_;
    const float *styles_, *rows_[kIn];
    size_t at_;
  };

  // Tiles t + from .. t + to - 1 of a batch that begins at tile t, for one block of channels.
  void transform_input(const Call& call, int block, int t, int from, int to, float* v) const {
    Inputs inputs(*this, call, t + from, block, block + 1);
    for (int i = from; i < to; ++i) inputs.put(i, v);
  }

  // Tiles on their way out, from tile t of all samples on: one block of output channels.
  class Outputs {
   public:
    Outputs(const ConvLayer& layer, const Call& call, int t, int block)
        : layer_(layer),
          call_(call),
          group_(layer.products_.group(0)),
          is_local_(call.out.data == nullptr || layer.goes_around(call)),
          columns_(layer.choice_.columns),
          first_(block * layer.choice_.columns),
          width_(layer.shape_.width),
          tile_(t, layer.tile_columns_, layer.tile_rows_) {
      out_.row = is_local_ ? layer.strip_row() : call.out.row;
      plane_ = is_local_ ? kOut * out_.row : call.out.plane;
      to_next_ = kOut * kLanes - plane_ * columns_;
      bias_ = layer.bias_.get() + size_t(first_) * kLanes;
      find();
    }

    // The next one, from place i of a batch in `m`.
    FASTGAN_INLINE void put(int i, const float* m) {
      const float* from = m + group_.m_first + group_.m_row_offset[i];
      const bool is_whole = tile_.x < whole_;
      if (!is_whole) out_.columns = least(kOut, width_ - tile_.x * kOut);
      for (int n = 0; n < columns_; ++n, from += kLanes, out_.to += plane_) {
        out_.scale = scales_ + n * kLanes, out_.bias = bias_ + n * kLanes;
        is_whole ? layer_.tile_.outputs_of(from, group_.m_step, out_, width_)
                 : layer_.tile_.edge_of(from, group_.m_step, out_, width_);
      }
      out_.to += to_next_, out_.noise += kOut;
      if (tile_.next()) find();
    }

   private:
    void find() {
      const LayerShape& shape = layer_.shape_;
      const int x = tile_.x * kOut, y = tile_.y * kOut, sample = tile_.sample;
      out_.noise = call_.noise + call_.noise_step * sample + size_t(y) * width_ + x;
      out_.rows = least(kOut, shape.height - y), out_.columns = kOut;
      whole_ = out_.rows == kOut ? width_ / kOut : 0;
      scales_ =
          call_.scales + (size_t(sample) * vectors(shape.out_channels, kLanes) + first_) * kLanes;
      out_.to = is_local_ ? layer_.strip_of(call_, sample * layer_.tile_rows_ + tile_.y)
                          : call_.out.at(sample, 0, y);
      out_.to += first_ * plane_ + size_t(x) * kLanes;
    }

    const ConvLayer& layer_;
    const Call& call_;
    const Group group_;
    const bool is_local_;                // to a strip
    const int columns_, first_, width_;  // first_: vector of channels
    TileCursor tile_;
    ConvTileOut out_;
    const float *scales_, *bias_;
    std::ptrdiff_t plane_, to_next_;  // from behind the last vector of a tile to the next tile
    int whole_;                       // columns of tiles that lie in the image as a whole
  };

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
