// Upsampling convolution: tiles to points, products, overlap-add into rows of T, filter. Blocks of
// output channels pass through one buffer of T; the rows that the next tile rows need are kept
// aside for each block. Only in a stamped region.
#pragma once

#include "cpu/conv2d_resample_fir.h"
#include "cpu/conv2d_resample_weight.h"

namespace fastgan::cpu::FASTGAN_STAMPED {

template <class A>
class Up {
  using T = Tile<A>;
  static constexpr int kStride = 2 * A::kIn;  // rows of T from one tile row to the next
  static constexpr int kKept = 4;             // rows of T that two steps share

 public:
  explicit Up(const ResampleCall& call)
      : call_(call),
        tile_rows_(call.tile_rows()),
        tile_columns_(call.tile_columns()),
        vectors_(column_vectors(call.high)),
        columns_(vectors_ * kLanes),
        row_((kStride * tile_columns_ + 3) * columns_),
        image_((kStride * call.step + kKept + 1) * row_) {}

  int64_t scratch() const {
    const int64_t tiles = most_tiles();
    return Plan<A>::table_size(tiles) + Plan<A>::input_size(tiles, call_.low) +
           tiles * T::kRows * columns_ + call_.group * image_ +
           call_.high / columns_ * call_.group * kKept * row_;
  }

  void run(const float* low, const float* packed, float* high, int64_t begin, int64_t end,
           float* scratch) {
    const int64_t tiles = most_tiles();
    table_ = reinterpret_cast<int32_t*>(scratch);
    input_ = scratch + Plan<A>::table_size(tiles);
    product_ = input_ + Plan<A>::input_size(tiles, call_.low);
    t_ = product_ + tiles * T::kRows * columns_;
    kept_ = t_ + call_.group * image_;
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t strip = unit % call_.strips, group = unit / call_.strips;
      const int64_t first = group * call_.group;
      images_ = least(call_.group, call_.samples - first);
      low_ = low + first * call_.height * call_.width * call_.low;
      high_ = high + first * 4 * call_.height * call_.width * call_.high;
      compute(packed, tile_rows_ * strip / call_.strips, tile_rows_ * (strip + 1) / call_.strips);
    }
  }

 private:
  int64_t most_tiles() const { return call_.group * call_.step * tile_columns_; }

  // Output rows of the tile rows [first, last). The tile row before and the one after belong to
  // other units as well; computing them again spares the threads a meeting.
  void compute(const float* packed, int64_t first, int64_t last) {
    const int64_t from = most(first - 1, 0), to = least(last + 1, tile_rows_);
    zero_margins();
    for (int64_t top = from; top < to; top += call_.step) {
      const int64_t bottom = least(top + call_.step, to);
      const int64_t tiles = images_ * (bottom - top) * tile_columns_;
      if (tiles != plan_.tiles) {
        plan_.build(tiles, call_.low, max_rows(vectors_), table_);
      }
      transform(top, bottom);
      const bool at_end = bottom == tile_rows_;
      const int64_t begin = most(kStride * first, top == from ? 0 : kStride * top - 2);
      const int64_t end = least(least(kStride * last, 2 * call_.height),
                                at_end ? 2 * call_.height : kStride * bottom - 2);
      for (int block = 0; block < call_.high / columns_; ++block) {
        multiply(plan_, call_.low / kLanes, vectors_, input_,
                 packed + static_cast<int64_t>(block) * T::kJobs * call_.low * columns_, product_);
        float* kept = kept_ + block * call_.group * kKept * row_;
        for (int64_t n = 0; n < images_; ++n) {
          float* t = t_ + n * image_;
          begin_rows(t, kept + n * kKept * row_, top == from);
          add_tiles(t, n, bottom - top, top > from);
          float* below = t + kStride * (bottom - top) * row_;
          if (at_end) std::memset(below + kKept * row_, 0, row_ * sizeof(float));
          if (bottom < to)
            std::memcpy(kept + n * kKept * row_, below, kKept * row_ * sizeof(float));
          filter(t, n, block, kStride * top - 3, begin, end);
        }
      }
    }
  }

  // The columns on the left and right of T are zero, and no tile writes them.
  void zero_margins() {
    for (int64_t i = 0; i < call_.group * (kStride * call_.step + kKept + 1); ++i) {
      std::memset(t_ + i * row_, 0, columns_ * sizeof(float));
      std::memset(t_ + (i + 1) * row_ - columns_, 0, columns_ * sizeof(float));
    }
  }

  void transform(int64_t top, int64_t bottom) {
    int64_t tile = 0;
    for (int64_t n = 0; n < images_; ++n) {
      const float* image = low_ + n * call_.height * call_.width * call_.low;
      for (int64_t y = top; y < bottom; ++y) {
        for (int64_t x = 0; x < tile_columns_; ++x, ++tile) {
          low_tile_to_points(call_, image, y, x, 0, call_.low / kLanes, plan_, input_, tile);
        }
      }
    }
  }

  // The first rows of a step: those that the step before has begun, or zeros.
  void begin_rows(float* t, const float* kept, bool first) {
    if (first) {
      std::memset(t, 0, 3 * row_ * sizeof(float));
    } else {
      std::memcpy(t, kept, kKept * row_ * sizeof(float));
    }
  }

  void add_tiles(float* t, int64_t n, int64_t rows, bool below_others) {
    for (int64_t y = 0; y < rows; ++y) {
      for (int64_t x = 0; x < tile_columns_; ++x) {
        const int64_t tile = (n * rows + y) * tile_columns_ + x;
        float* to = t + (3 + kStride * y) * row_ + (1 + kStride * x) * columns_;
        for (int v = 0; v < vectors_; ++v) {
          const Products<A> m{plan_, product_ + v * kLanes, tile, columns_};
          products_to_high<A>(m, to + v * kLanes, row_, columns_, below_others || y > 0, x > 0);
        }
      }
    }
  }

  // Output rows [begin, end) of a block of channels; `origin` is the row of T at t.
  void filter(const float* t, int64_t n, int block, int64_t origin, int64_t begin, int64_t end) {
    const int64_t width = 2 * call_.width;
    for (int64_t y = begin; y < end; ++y) {
      float* to = high_ + (n * 2 * call_.height + y) * width * call_.high + block * columns_;
      for (int v = 0; v < vectors_; ++v) {
        FourRows rows;
        for (int a = 0; a < 4; ++a) {
          rows.row[a] = t + (y - 1 + a - origin) * row_ + v * kLanes;
          rows.step[a] = columns_;
          rows.taps[a] = splat(call_.taps[a]);
        }
        filter_rows(rows, width, to + v * kLanes, call_.high);
      }
    }
  }

  const ResampleCall& call_;
  const int64_t tile_rows_, tile_columns_;
  const int vectors_;
  const int64_t columns_, row_, image_;  // of the buffer of T: floats of a pixel, row and image
  Plan<A> plan_;
  int64_t images_ = 0;
  const float* low_ = nullptr;
  float* high_ = nullptr;
  int32_t* table_ = nullptr;
  float *input_ = nullptr, *product_ = nullptr, *t_ = nullptr, *kept_ = nullptr;
};

}  // namespace fastgan::cpu::FASTGAN_STAMPED
