// The ring of rows between the transposed convolution of an upsampling layer and its filter: tiles
// add their outputs, and rows that are complete go through the 4-tap filter, the activation and
// into the image. One ring for each block of output channels. Only in a stamped region.
#pragma once

#include "engine/tile_products.h"

namespace fastgan::engine::FASTGAN_STAMPED {

template <bool kAround>
inline void store_output(float* to, Vec value) {
  kAround ? stream(to, value) : store(to, value);
}

template <typename A>
class UpRing {
  static constexpr int kN = A::kIn, kPoints = A::kPoints;
  static constexpr int kRows = 2 * kN + 5;  // in use, with the row of zeros below the image

 public:
  // The groups of no, one and two odd axes say where their products are in M.
  UpRing(const LayerShape& shape, const Choice& choice, const Activation& activation,
         const Group& even, const Group& mixed, const Group& odd, const float* bias)
      : shape_(shape),
        columns_(choice.columns),
        even_(even),
        mixed_(mixed),
        odd_(odd),
        finish_(activation),
        ratio_(activation.filter_ratio),
        streams_(leaves_caches(shape)),
        tile_rows_((shape.height + kN - 1) / kN),
        tile_columns_((shape.width + kN - 1) / kN),
        bias_(size_t(vectors(shape.out_channels, kLanes)) * kLanes) {
    for (int o = 0; o < shape.out_channels; ++o) bias_[o] = bias[o];
  }

  size_t floats() const { return row_floats() * kRows; }
  // Whether outputs go around the caches: they must be finished before others read them.
  bool streams() const { return streams_; }

  // The products of a tile, at place i of a batch in `m`: into the ring, and what is complete out
  // of it.
  void add(const Call& call, const RowRun& run, int block, const TileCursor& tile, int i,
           const float* m, float* ring) const {
    switch (columns_) {
      case 4:
        return add<4>(call, run, block, tile, i, m, ring);
      case 3:
        return add<3>(call, run, block, tile, i, m, ring);
      case 2:
        return add<2>(call, run, block, tile, i, m, ring);
      default:
        return add<1>(call, run, block, tile, i, m, ring);
    }
  }

 private:
  // Zeros where the filter reads and no tile is added: the row above the image, the first and the
  // last column of all rows.
  void clear_edges(float* ring) const {
    const size_t vector_floats = size_t(columns_) * kLanes;
    std::memset(row_at(ring, -1), 0, row_floats() * sizeof(float));
    for (int row = 0; row < kRows; ++row) {
      float* const first = ring + row * row_floats();
      std::memset(first, 0, vector_floats * sizeof(float));
      std::memset(first + row_floats() - vector_floats, 0, vector_floats * sizeof(float));
    }
  }

  // Columns -1 .. 2 * (width in whole tiles) + 1 of the transposed convolution.
  size_t row_floats() const { return size_t(2 * tile_columns_ * kN + 3) * columns_ * kLanes; }
  float* row_at(float* ring, int row) const {
    return ring + size_t((row + kRows) % kRows) * row_floats();
  }

  template <int NV>
  void add(const Call& call, const RowRun& run, int block, const TileCursor& tile, int i,
           const float* m, float* ring) const {
    if (tile.x == 0) clear_for_row<NV>(tile.y, tile.y == run.start, ring);
    add_tile<NV>(i, tile.x, tile.y, m, ring);
    if (tile.x == tile_columns_ - 1) filter_row(call, run, block, tile, ring);
  }

  // The rows that no tile below row tile.y adds to.
  void filter_row(const Call& call, const RowRun& run, int block, const TileCursor& tile,
                  float* ring) const {
    // The row 2 kN (y + 1) is shared with the tiles below.
    const int y = tile.y, from = y == 0 ? 0 : 2 * kN * y - 2;
    int end = 2 * kN * (y + 1) - 2;
    if (y == tile_rows_ - 1) {
      end = 2 * shape_.height;
      std::memset(row_at(ring, end + 1), 0, row_floats() * sizeof(float));
    }
    // All these are even.
    int row = from > run.wanted ? from : run.wanted;
    end = least(end, 2 * shape_.height);
    for (; row + 4 <= end; row += 4) filter_rows<4>(call, tile.sample, block, row, ring);
    if (row < end) filter_rows<2>(call, tile.sample, block, row, ring);
  }

  // Zeros where tiles of row y add to what no tile has stored: their first row when there are no
  // tiles above, the first column of the other rows.
  template <int NV>
  void clear_for_row(int y, bool is_first, float* ring) const {
    constexpr size_t kS = size_t(NV) * kLanes;
    if (is_first) {
      clear_edges(ring);
      std::memset(row_at(ring, 2 * kN * y) + kS, 0, (row_floats() - kS) * sizeof(float));
    }
    for (int r = 1; r <= 2 * kN; ++r) {
      std::memset(row_at(ring, 2 * kN * y + r) + kS, 0, kS * sizeof(float));
    }
  }

  // The outputs of tile i of the batch, at column x and row y of the tiles, into the ring.
  template <int NV>
  void add_tile(int i, int x, int y, const float* m, float* ring) const {
    constexpr size_t kS = size_t(NV) * kLanes;
    TileOut<NV> tile;
    tile.even_step = even_.m_step, tile.mixed_step = mixed_.m_step;
    tile.even = m + even_.m_first + even_.m_row_offset[i];
    tile.columns = m + mixed_.m_first;
    tile.rows = tile.columns + kPoints * tile.mixed_step;
    tile.odd = m + odd_.m_first;
    tile.mixed_offset = mixed_.m_row_offset + i * kN;
    tile.odd_offset = odd_.m_row_offset + i * kN * kN;
    for (int r = 0; r <= 2 * kN; ++r) {
      tile.to[r] = row_at(ring, 2 * kN * y + r) + kS + 2 * kN * x * kS;
    }
    for (size_t n = 0; n < kS; n += kLanes) {
      outputs_of<NV>(tile, n);
      tile.even += kLanes, tile.columns += kLanes, tile.rows += kLanes, tile.odd += kLanes;
    }
  }

  // One tile in M, and where its outputs go.
  template <int NV>
  struct TileOut {
    const float *even, *columns, *rows, *odd;  // columns: even row, odd column; rows: the reverse
    const int *mixed_offset, *odd_offset;      // of their rows
    size_t even_step, mixed_step;              // from point to point
    float* to[2 * kN + 1];
  };

  static inline void add_to(float* to, Vec value) { store(to, value + load(to)); }

  // Adds where tiles overlap, in the first row and the first column, and stores elsewhere.
  template <int NV>
  static FASTGAN_APART void outputs_of(const TileOut<NV>& tile, size_t n) {
    constexpr size_t kS = size_t(NV) * kLanes;
    const size_t even_step = tile.even_step, mixed_step = tile.mixed_step;
    Vec outputs[kN + 1][kPoints], line[kPoints], y_line[kN + 1];
    const float* even = tile.even;
    FASTGAN_UNROLL for (int q = 0; q < kPoints; ++q) {
      FASTGAN_UNROLL for (int p = 0; p < kPoints; ++p) {
        line[p] = load(even + (p * kPoints + q) * even_step);
      }
      A::out(line, y_line);
      FASTGAN_UNROLL for (int r = 0; r <= kN; ++r) outputs[r][q] = y_line[r];
    }
    FASTGAN_UNROLL for (int r = 0; r <= kN; ++r) {
      float* const to = tile.to[2 * r] + n;
      A::out(outputs[r], y_line);
      FASTGAN_UNROLL for (int c = 0; c <= kN; ++c) {
        r == 0 || c == 0 ? add_to(to + 2 * c * kS, y_line[c]) : store(to + 2 * c * kS, y_line[c]);
      }
    }
    FASTGAN_UNROLL for (int c = 0; c < kN; ++c) {
      const float* const columns = tile.columns + tile.mixed_offset[c];
      FASTGAN_UNROLL for (int p = 0; p < kPoints; ++p) line[p] = load(columns + p * mixed_step);
      A::out(line, y_line);
      FASTGAN_UNROLL for (int r = 0; r <= kN; ++r) {
        float* const to = tile.to[2 * r] + n + (2 * c + 1) * kS;
        r == 0 ? add_to(to, y_line[r]) : store(to, y_line[r]);
      }
    }
    FASTGAN_UNROLL for (int r = 0; r < kN; ++r) {
      const float* const rows = tile.rows + tile.mixed_offset[r];
      float* const to = tile.to[2 * r + 1] + n;
      FASTGAN_UNROLL for (int q = 0; q < kPoints; ++q) line[q] = load(rows + q * mixed_step);
      A::out(line, y_line);
      FASTGAN_UNROLL for (int c = 0; c <= kN; ++c) {
        c == 0 ? add_to(to, y_line[c]) : store(to + 2 * c * kS, y_line[c]);
      }
      FASTGAN_UNROLL for (int c = 0; c < kN; ++c) {
        store(to + (2 * c + 1) * kS, load(tile.odd + tile.odd_offset[r * kN + c]));
      }
    }
  }

  // R rows of the output, from the rows row - 1 .. row + R + 1 of the transposed convolution.
  template <int R>
  void filter_rows(const Call& call, int sample, int block, int row, float* ring) const {
    const int width = 2 * shape_.width, padded = vectors(shape_.out_channels, kLanes) * kLanes;
    // The image between the layers of a pair is there to stay in the cache.
    const bool around = streams_ && call.out.mask == -1;
    FilteredRows<R> rows;
    rows.step = size_t(columns_) * kLanes, rows.width = width;
    rows.noise = call.noise + call.noise_step * sample + size_t(row) * width;
    for (int n = 0; n < columns_; ++n) {
      const int c = block * columns_ + n;
      for (int k = 0; k < R + 3; ++k) rows.lines[k] = row_at(ring, row - 1 + k) + n * kLanes;
      for (int r = 0; r < R; ++r) rows.to[r] = call.out.at(sample, c, row + r);
      rows.scale = call.scales + size_t(sample) * padded + c * kLanes;
      rows.bias = bias_.get() + c * kLanes;
      const auto run = finish_.limited ? around ? &filter<R, true, true> : &filter<R, true, false>
                       : around        ? &filter<R, false, true>
                                       : &filter<R, false, false>;
      run(rows, splat(ratio_), finish_);
    }
  }

  // R rows of one vector of channels: from columns -1 .. width + 1 of `lines`, `step` apart.
  template <int R>
  struct FilteredRows {
    const float *lines[R + 3], *noise, *scale, *bias;
    size_t step;
    int width;
    float* to[R];
  };

  // Four columns in turn, so that none changes its registers from one output to the next.
  template <int R, bool kLimited, bool kAround>
  static FASTGAN_APART void filter(const FilteredRows<R>& rows, Vec ratio,
                                   const Finish& finish_in) {
    const Finish finish = finish_in;
    const FilteredRows<R> in = rows;
    const Vec scale = load(in.scale), bias = load(in.bias);
    const int width = in.width;
    Vec column[4][R];
    size_t at = 0;
    const auto take = [&](int j) __attribute__((always_inline)) {
      filter_column<R>(in.lines, at, ratio, column[j]);
      at += in.step;
    };
    const auto put = [&](int x, int j) __attribute__((always_inline)) {
      take((j + 3) % 4);
      FASTGAN_UNROLL for (int r = 0; r < R; ++r) {
        const Vec sum = fma(ratio, column[(j + 1) % 4][r] + column[(j + 2) % 4][r],
                            column[j][r] + column[(j + 3) % 4][r]);
        store_output<kAround>(
            in.to[r] + size_t(x) * kLanes,
            finish.template run<kLimited>(sum, scale, bias, in.noise[size_t(r) * width + x]));
      }
    };
    take(0), take(1), take(2);
    int x = 0;
    for (; x + 4 <= width; x += 4) put(x, 0), put(x + 1, 1), put(x + 2, 2), put(x + 3, 3);
    if (x < width) put(x, 0), put(x + 1, 1);  // the width is even
  }

  // R rows at one column.
  template <int R>
  static inline __attribute__((always_inline)) void filter_column(const float* const* lines,
                                                                  size_t at, Vec ratio, Vec* sums) {
    Vec line[R + 3];
    FASTGAN_UNROLL for (int k = 0; k < R + 3; ++k) line[k] = load(lines[k] + at);
    FASTGAN_UNROLL for (int r = 0; r < R; ++r) {
      sums[r] = fma(ratio, line[r + 1] + line[r + 2], line[r] + line[r + 3]);
    }
  }

  const LayerShape shape_;
  const int columns_;
  const Group even_, mixed_, odd_;
  const Finish finish_;
  const float ratio_;
  const bool streams_;
  const int tile_rows_, tile_columns_;
  Buffer<float> bias_;
};

}  // namespace fastgan::engine::FASTGAN_STAMPED
