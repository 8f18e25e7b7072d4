// Downsampling convolution and the gradient of the weight: both begin with the filtered image S at
// the points. Only in a stamped region.
#pragma once

#include "cpu/conv2d_resample_fir.h"
#include "cpu/conv2d_resample_weight.h"

namespace fastgan::cpu::FASTGAN_STAMPED {

// S at the points, for tile rows [begin, end) counted through all samples.
template <class A>
class FilteredTiles {
 public:
  explicit FilteredTiles(const ResampleCall& call)
      : call_(call), tile_rows_(call.tile_rows()), columns_(2 * A::kIn * call.tile_columns() + 1) {}

  int64_t scratch(int vectors) const {
    return (2 * A::kIn * least(call_.step, tile_rows_) + 1) * columns_ * vectors * kLanes;
  }

  // `vectors` vectors of channels from `channel` on, which are the blocks from `block` on in `to`.
  void transform(const float* high, int64_t channel, int vectors, int64_t begin, int64_t end,
                 const Plan<A>& plan, float* to, int block, float* s) const {
    const int64_t height = 2 * call_.height, width = 2 * call_.width, pixel = vectors * kLanes;
    const int64_t across = call_.tile_columns();
    for (int64_t row = begin; row < end;) {
      const int64_t n = row / tile_rows_, top = row % tile_rows_;
      const int64_t rows = least(end - row, tile_rows_ - top);
      filter_down(high + n * height * width * call_.high + channel, height, width, call_.high,
                  call_.taps, 2 * A::kIn * top, 2 * A::kIn * rows + 1, columns_, vectors, s);
      for (int64_t i = 0; i < rows * across; ++i) {
        const float* tile = s + (i / across * columns_ + i % across) * 2 * A::kIn * pixel;
        for (int v = 0; v < vectors; ++v) {
          const Points<A> points{plan, to, (row - begin) * across + i, block + v};
          high_to_points<A>(tile + v * kLanes, columns_ * pixel, pixel, points);
        }
      }
      row += rows;
    }
  }

 private:
  const ResampleCall& call_;
  const int64_t tile_rows_, columns_;
};

// A unit is `step` tile rows.
template <class A>
class Down {
  using T = Tile<A>;

 public:
  explicit Down(const ResampleCall& call)
      : call_(call),
        filtered_(call),
        tiles_(call.step * call.tile_columns()),
        inputs_(column_vectors(call.high)),
        vectors_(column_vectors(call.low)) {}

  int64_t scratch() const {
    return Plan<A>::table_size(tiles_) + Plan<A>::input_size(tiles_, call_.high) +
           tiles_ * T::kRows * vectors_ * kLanes + filtered_.scratch(inputs_);
  }

  void run(const float* high, const float* packed, float* low, int64_t begin, int64_t end,
           float* scratch) {
    int32_t* table = reinterpret_cast<int32_t*>(scratch);
    float* input = scratch + Plan<A>::table_size(tiles_);
    float* product = input + Plan<A>::input_size(tiles_, call_.high);
    const int64_t columns = vectors_ * kLanes;
    float* s = product + tiles_ * T::kRows * columns;
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t first = unit * call_.step;
      const int64_t last = least(first + call_.step, call_.samples * call_.tile_rows());
      const int64_t tiles = (last - first) * call_.tile_columns();
      if (tiles != plan_.tiles) plan_.build(tiles, call_.high, max_rows(vectors_), table);
      for (int block = 0; block < call_.high / kLanes; block += inputs_) {
        filtered_.transform(high, block * kLanes, inputs_, first, last, plan_, input, block, s);
      }
      for (int64_t block = 0; block < call_.low / columns; ++block) {
        multiply(plan_, call_.high / kLanes, vectors_, input,
                 packed + block * T::kJobs * call_.high * columns, product);
        write(product, first, tiles, low + block * columns);
      }
    }
  }

 private:
  void write(const float* product, int64_t first, int64_t tiles, float* low) const {
    const int64_t across = call_.tile_columns(), down = call_.tile_rows();
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t row = first + tile / across, top = row % down * A::kIn;
      const int64_t left = tile % across * A::kIn;
      const int64_t rows = least(A::kIn, call_.height - top);
      const int64_t columns = least(A::kIn, call_.width - left);
      const int64_t line = call_.width * call_.low;
      float* to = low + (row / down * call_.height + top) * line + left * call_.low;
      for (int v = 0; v < vectors_; ++v, to += kLanes) {
        const Products<A> products{plan_, product + v * kLanes, tile, vectors_ * kLanes};
        if (rows == A::kIn && columns == A::kIn) {
          put_tile(products, to, line);
        } else {
          put_part(products, to, line, rows, columns);
        }
      }
    }
  }

  FASTGAN_APART void put_tile(const Products<A>& products, float* to, int64_t line) const {
    Vec pixels[A::kIn][A::kIn];
    products_to_low<A>(products, pixels);
    FASTGAN_UNROLL
    for (int i = 0; i < A::kIn; ++i) {
      FASTGAN_UNROLL
      for (int j = 0; j < A::kIn; ++j) store(to + i * line + j * call_.low, pixels[i][j]);
    }
  }

  FASTGAN_APART void put_part(const Products<A>& products, float* to, int64_t line, int64_t rows,
                              int64_t columns) const {
    Vec pixels[A::kIn][A::kIn];
    products_to_low<A>(products, pixels);
    for (int i = 0; i < rows; ++i) {
      for (int j = 0; j < columns; ++j) store(to + i * line + j * call_.low, pixels[i][j]);
    }
  }

  const ResampleCall& call_;
  const FilteredTiles<A> filtered_;
  const int64_t tiles_;
  const int inputs_, vectors_;
  Plan<A> plan_;
};

}  // namespace fastgan::cpu::FASTGAN_STAMPED
