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

namespace fastgan::engine::FASTGAN_STAMPED {

// Outputs of this size have left the caches when the next layer reads them, and a plain store would
// read the line first that it overwrites.
constexpr size_t kStreamBytes = size_t(12) << 20;

inline bool leaves_caches(const LayerShape& shape) {
  const size_t channels = size_t(vectors(shape.out_channels, kLanes)) * kLanes;
  return channels * shape.out_height() * shape.out_width() * sizeof(float) > kStreamBytes;
}

inline void store_output(float* to, Vec value, bool streams) {
  streams ? stream(to, value) : store(to, value);
}

template <typename A, typename W>
class UpLayer final : public Layer {
  static constexpr int kN = A::kIn, kPoints = A::kPoints;
  static constexpr int kRing = 2 * kN + 5;  // rows in use, with the row of zeros below the image
  static constexpr int kHalo = kN == 1 ? 2 : 1;  // rows of tiles that a run needs from above
  // Groups of points by the parity of the output's row and column.
  static constexpr int kEven = 0, kMixed = 1, kOdd = 2;

 public:
  UpLayer(const LayerShape& shape, const Choice& choice, const Activation& activation,
          const float* weight, const float* bias)
      : shape_(shape),
        choice_(choice),
        finish_(activation),
        ratio_(activation.filter_ratio),
        streams_(leaves_caches(shape)),
        tile_rows_((shape.height + kN - 1) / kN),
        tile_columns_((shape.width + kN - 1) / kN),
        products_(shape, choice, {kPoints * kPoints, 2 * kPoints, 1}, {1, kN, kN * kN}),
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
  int input_overhang_rows() const override { return tile_rows_ * kN - shape_.height; }
  int input_overhang_columns() const override { return tile_columns_ * kN - shape_.width; }
  size_t scratch_floats(int threads) const override {
    return products_.v_floats() * (choice_.split == Split::kTeam ? 2 : threads) +
           products_.m_floats() * threads +
           ring_floats() * products_.out_blocks() * (choice_.split == Split::kRows ? threads : 1);
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
      for (int n = 0; n < call.samples; ++n) run_channels(call, n);
    }
    if (streams_) finish_streams();
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

  // A row of the ring: columns -1 .. 2 * (width in whole tiles) + 1 of the transposed convolution.
  size_t ring_row() const { return size_t(2 * tile_columns_ * kN + 3) * choice_.columns * kLanes; }
  size_t ring_floats() const { return ring_row() * kRing; }
  float* ring_at(float* ring, int row) const {
    return ring + size_t((row + kRing) % kRing) * ring_row();
  }

  // A row that does not follow on the last one begins a run, and the rows above it are transformed
  // once more.
  void make_row(const Call& call, RowRun& run, int row, StageClock& clock) const {
    float* const m = call.scratch + products_.m_floats() * call.thread;
    float* const v =
        call.scratch + products_.m_floats() * call.threads + products_.v_floats() * call.thread;
    float* const ring = call.scratch +
                        (products_.m_floats() + products_.v_floats()) * call.threads +
                        ring_floats() * products_.out_blocks() * call.thread;
    const int sample = row / tile_rows_, y = row % tile_rows_;
    int from = y;
    if (row != run.next || sample != run.sample) {
      from = y > kHalo ? y - kHalo : 0;
      run = {sample, from, y == 0 ? 0 : 2 * kN * y - 2, row};
      for (int b = 0; b < products_.out_blocks(); ++b) clear_edges(ring + ring_floats() * b);
    }
    const int last = (y + 1) * tile_columns_;
    for (int t = from * tile_columns_; t < last; t += choice_.batch) {
      const int tiles = least(choice_.batch, last - t);
      for (int b = 0; b < products_.blocks(); ++b) transform_input(call, sample, b, t, 0, tiles, v);
      clock.lap(&Stages::input);
      for (int b = 0; b < products_.out_blocks(); ++b) {
        products_.run(b, tiles, v, m);
        clock.lap(&Stages::product);
        finish_tiles(call, run, b, t, tiles, m, ring + ring_floats() * b);
        clock.lap(&Stages::output);
      }
    }
    run.next = row + 1;
  }

  // One image by all threads, each with its part of the output channels. A team shares the input
  // channels of each batch, too; else each thread transforms all of them.
  void run_channels(const Call& call, int sample) const {
    const bool shared = choice_.split == Split::kTeam;
    const int me = call.thread, team = call.threads, last = tile_rows_ * tile_columns_;
    float* const m = call.scratch + products_.m_floats() * me;
    float* const v_all = call.scratch + products_.m_floats() * team;
    float* const ring = v_all + (shared ? 2 : team) * products_.v_floats();
    const int blocks = products_.blocks();
    const int first_block = products_.out_blocks() * me / team;
    const int last_block = products_.out_blocks() * (me + 1) / team;
    for (int b = first_block; b < last_block; ++b) clear_edges(ring + ring_floats() * b);
    StageClock clock(call.stages);
    int turn = 0;
    for (int t = 0; t < last; t += choice_.batch, turn ^= 1) {
      const int tiles = least(choice_.batch, last - t);
      float* const v = v_all + products_.v_floats() * (shared ? turn : me);
      const int parts = blocks % team == 0 ? 1 : team, items = blocks * parts;
      for (int i = shared ? items * me / team : 0; i < (shared ? items * (me + 1) / team : items);
           ++i) {
        const int part = i % parts, from = tiles * part / parts;
        transform_input(call, sample, i / parts, t, from, tiles * (part + 1) / parts, v);
      }
      clock.lap(&Stages::input);
      if (shared) call.team->barrier();
      clock.lap(&Stages::wait);
      for (int b = first_block; b < last_block; ++b) {
        products_.run(b, tiles, v, m);
        clock.lap(&Stages::product);
        finish_tiles(call, {sample}, b, t, tiles, m, ring + ring_floats() * b);
        clock.lap(&Stages::output);
      }
    }
    // The next image begins with the buffer of V that this one may have ended with.
    if (shared) call.team->barrier();
  }

  // Zeros where the filter reads and no tile is added: the row above the image, the first and the
  // last column of all rows.
  void clear_edges(float* ring) const {
    const size_t vector_floats = size_t(choice_.columns) * kLanes;
    std::memset(ring_at(ring, -1), 0, ring_row() * sizeof(float));
    for (int row = 0; row < kRing; ++row) {
      float* const first = ring + row * ring_row();
      std::memset(first, 0, vector_floats * sizeof(float));
      std::memset(first + ring_row() - vector_floats, 0, vector_floats * sizeof(float));
    }
  }

  // Tiles t + from .. t + to - 1 of a batch that begins at tile t, for one block of channels.
  void transform_input(const Call& call, int sample, int block, int t, int from, int to,
                       float* v) const {
    const Group &even = products_.group(kEven), &mixed = products_.group(kMixed);
    const Group& odd = products_.group(kOdd);
    const Vec style =
        load(call.styles + (size_t(sample) * products_.blocks() + size_t(block)) * kLanes);
    const size_t row = call.in.row, floats = size_t(block) * kLanes;
    float* const rows_v = v + kPoints * mixed.v_step;  // of the mixed group: odd rows
    TileCursor tile(t + from, tile_columns_, tile_rows_);
    for (int i = from; i < to; ++i, tile.next()) {
      const float* source = call.in.at(sample, block, tile.y * kN) + size_t(tile.x) * kN * kLanes;
      Vec pixels[kN][kN], points[kPoints][kN], line[kN], transformed[kPoints];
      FASTGAN_UNROLL for (int c = 0; c < kN; ++c) {
        FASTGAN_UNROLL for (int r = 0; r < kN; ++r) {
          line[r] = pixels[r][c] = load(source + r * row + c * kLanes) * style;
          store(v + products_.v_offset(odd, (i * kN + r) * kN + c) + floats * odd.panel, line[r]);
        }
        A::data(line, transformed);
        float* to_v = v + products_.v_offset(mixed, i * kN + c) + floats * mixed.panel;
        FASTGAN_UNROLL for (int p = 0; p < kPoints; ++p) {
          points[p][c] = transformed[p];
          store(to_v + p * mixed.v_step, transformed[p]);
        }
      }
      float* to_v = v + products_.v_offset(even, i) + floats * even.panel;
      FASTGAN_UNROLL for (int p = 0; p < kPoints; ++p) {
        A::data(points[p], transformed);
        FASTGAN_UNROLL for (int q = 0; q < kPoints; ++q) {
          store(to_v + (p * kPoints + q) * even.v_step, transformed[q]);
        }
      }
      FASTGAN_UNROLL for (int r = 0; r < kN; ++r) {
        A::data(pixels[r], transformed);
        to_v = rows_v + products_.v_offset(mixed, i * kN + r) + floats * mixed.panel;
        FASTGAN_UNROLL for (int q = 0; q < kPoints; ++q)
            store(to_v + q * mixed.v_step, transformed[q]);
      }
    }
  }

  void finish_tiles(const Call& call, const RowRun& run, int block, int t, int tiles,
                    const float* m, float* ring) const {
    switch (choice_.columns) {
      case 4:
        return finish_tiles<4>(call, run, block, t, tiles, m, ring);
      case 3:
        return finish_tiles<3>(call, run, block, t, tiles, m, ring);
      case 2:
        return finish_tiles<2>(call, run, block, t, tiles, m, ring);
      default:
        return finish_tiles<1>(call, run, block, t, tiles, m, ring);
    }
  }

  template <int NV>
  void finish_tiles(const Call& call, const RowRun& run, int block, int t, int tiles,
                    const float* m, float* ring) const {
    TileCursor tile(t, tile_columns_, tile_rows_);
    for (int i = 0; i < tiles; ++i, tile.next()) {
      const int x = tile.x, y = tile.y;
      add_tile<NV>(i, x, y, y == run.start, m, ring);
      if (x < tile_columns_ - 1) continue;
      // Rows that no later tile adds to. The row 2 kN (y + 1) is shared with the tiles below.
      const int from = y == 0 ? 0 : 2 * kN * y - 2;
      int end = 2 * kN * (y + 1) - 2;
      if (y == tile_rows_ - 1) {
        end = 2 * shape_.height;
        std::memset(ring_at(ring, end + 1), 0, ring_row() * sizeof(float));
      }
      const int first = from > run.wanted ? from : run.wanted;
      for (int row = first; row < least(end, 2 * shape_.height); ++row) {
        filter_row<NV>(call, run.sample, block, row, ring);
      }
    }
  }

  static inline void put(float* to, Vec value, bool add) {
    store(to, add ? value + load(to) : value);
  }

  // The outputs of tile i of the batch, at column x and row y of the tiles, into the ring.
  template <int NV>
  void add_tile(int i, int x, int y, bool is_first, const float* m, float* ring) const {
    constexpr size_t kS = size_t(NV) * kLanes;
    const size_t even_step = choice_.batch * kS, mixed_step = even_step * kN;
    const float* const even = m;
    const float* const columns = m + products_.group(kMixed).m_first * kS;  // even row, odd column
    const float* const rows = columns + kPoints * mixed_step;               // odd row, even column
    const float* const odd = m + products_.group(kOdd).m_first * kS;
    float* to[2 * kN + 1];
    for (int r = 0; r <= 2 * kN; ++r) to[r] = ring_at(ring, 2 * kN * y + r) + kS + 2 * kN * x * kS;
    for (size_t n = 0; n < kS; n += kLanes) {
      Vec outputs[kN + 1][kPoints], line[kPoints], y_line[kN + 1];
      FASTGAN_UNROLL for (int q = 0; q < kPoints; ++q) {
        FASTGAN_UNROLL for (int p = 0; p < kPoints; ++p) {
          line[p] = load(even + (p * kPoints + q) * even_step + i * kS + n);
        }
        A::out(line, y_line);
        FASTGAN_UNROLL for (int r = 0; r <= kN; ++r) outputs[r][q] = y_line[r];
      }
      FASTGAN_UNROLL for (int r = 0; r <= kN; ++r) {
        A::out(outputs[r], y_line);
        FASTGAN_UNROLL for (int c = 0; c <= kN; ++c) {
          put(to[2 * r] + 2 * c * kS + n, y_line[c], (r == 0 && !is_first) || (c == 0 && x > 0));
        }
      }
      FASTGAN_UNROLL for (int c = 0; c < kN; ++c) {
        FASTGAN_UNROLL for (int p = 0; p < kPoints; ++p) {
          line[p] = load(columns + p * mixed_step + (i * kN + c) * kS + n);
        }
        A::out(line, y_line);
        FASTGAN_UNROLL for (int r = 0; r <= kN; ++r) {
          put(to[2 * r] + (2 * c + 1) * kS + n, y_line[r], r == 0 && !is_first);
        }
      }
      FASTGAN_UNROLL for (int r = 0; r < kN; ++r) {
        FASTGAN_UNROLL for (int q = 0; q < kPoints; ++q) {
          line[q] = load(rows + q * mixed_step + (i * kN + r) * kS + n);
        }
        A::out(line, y_line);
        FASTGAN_UNROLL for (int c = 0; c <= kN; ++c) {
          put(to[2 * r + 1] + 2 * c * kS + n, y_line[c], c == 0 && x > 0);
        }
        FASTGAN_UNROLL for (int c = 0; c < kN; ++c) {
          store(to[2 * r + 1] + (2 * c + 1) * kS + n, load(odd + ((i * kN + r) * kN + c) * kS + n));
        }
      }
    }
  }

  // One row of the output from the rows row - 1 .. row + 2 of the transposed convolution.
  template <int NV>
  void filter_row(const Call& call, int sample, int block, int row, float* ring) const {
    constexpr size_t kS = size_t(NV) * kLanes;
    const float* lines[4];
    for (int k = 0; k < 4; ++k) lines[k] = ring_at(ring, row - 1 + k);
    const int width = 2 * shape_.width, padded = vectors(shape_.out_channels, kLanes) * kLanes;
    const float* noise = call.noise + call.noise_step * sample + size_t(row) * width;
    const Vec ratio = splat(ratio_);
    const bool around = streams_ && call.out.mask == -1;  // a ring is there to stay in the cache
    for (int n = 0; n < NV; ++n) {
      const int c = block * NV + n;
      const Vec scale = load(call.scales + size_t(sample) * padded + c * kLanes);
      const Vec bias = load(bias_.get() + c * kLanes);
      float* to = call.out.at(sample, c, row);
      size_t at = size_t(n) * kLanes;
      Vec before = filter_column(lines, at, ratio), here = filter_column(lines, at + kS, ratio);
      Vec after = filter_column(lines, at + 2 * kS, ratio);
      at += 3 * kS;
      for (int x = 0; x < width; ++x, at += kS) {
        const Vec last = filter_column(lines, at, ratio);
        const Vec sum = fma(ratio, here + after, before + last);
        store_output(to + size_t(x) * kLanes, finish_(sum, scale, bias, noise[x]), around);
        before = here, here = after, after = last;
      }
    }
  }

  static inline Vec filter_column(const float* const* lines, size_t at, Vec ratio) {
    return fma(ratio, load(lines[1] + at) + load(lines[2] + at),
               load(lines[0] + at) + load(lines[3] + at));
  }

  const LayerShape shape_;
  const Choice choice_;
  const Finish finish_;
  const float ratio_;
  const bool streams_;
  const int tile_rows_, tile_columns_;
  TileProducts<W> products_;
  Buffer<float> bias_;
};

}  // namespace fastgan::engine::FASTGAN_STAMPED
