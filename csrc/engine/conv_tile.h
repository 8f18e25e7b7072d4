// One tile of a 3x3 convolution on its way into the products and out of them. Only in a stamped
// region.
#pragma once

#include "engine/tile_products.h"

namespace fastgan::engine::FASTGAN_STAMPED {

// Where one tile of one block of channels goes.
struct ConvTileOut {
  const float *scale, *bias, *noise;
  float* to;
  size_t row;
  int rows, columns;  // of the tile that lie in the image
};

template <typename A>
class ConvTile {
  static constexpr int kOut = A::kOut, kIn = A::kIn, kPoints = A::kPoints;
  static constexpr int kAheadTiles = 4;  // so early is the input asked for

 public:
  explicit ConvTile(const Activation& activation) : finish_(activation) {}

  // One tile, whose rows begin at `at` floats from `rows`, to points that lie `step` apart.
  static FASTGAN_APART void points_of(const float* const (&rows)[kIn], size_t at, Vec style,
                                      float* v, size_t step) {
    const float* source[kIn];
    FASTGAN_UNROLL for (int r = 0; r < kIn; ++r) source[r] = rows[r] + at;
    FASTGAN_UNROLL for (int r = kIn - kOut; r < kIn; ++r) {
      FASTGAN_UNROLL for (int c = kIn - kOut; c < kIn; ++c) {
        prefetch_near(source[r] + (c + kAheadTiles * kOut) * kLanes);
      }
    }
    if constexpr (kPoints == 6) {
      rows_of<0>(source, style, v, step), rows_of<1>(source, style, v, step);
      rows_of<2>(source, style, v, step);
    } else {
      Vec points[kPoints][kIn], line[kIn], transformed[kPoints];
      FASTGAN_UNROLL for (int c = 0; c < kIn; ++c) {
        FASTGAN_UNROLL for (int r = 0; r < kIn; ++r) line[r] = load(source[r] + c * kLanes) * style;
        A::data(line, transformed);
        FASTGAN_UNROLL for (int p = 0; p < kPoints; ++p) points[p][c] = transformed[p];
      }
      FASTGAN_UNROLL for (int p = 0; p < kPoints; ++p) store_row(points[p], p, v, step);
    }
  }

  void outputs_of(const float* source, size_t point_step, const ConvTileOut& out,
                  size_t noise_row) const {
    const auto run = finish_.limited ? &finished_outputs_of<true> : &finished_outputs_of<false>;
    run(source, point_step, out, noise_row, finish_);
  }

  // The same for a tile that does not lie in the image as a whole.
  FASTGAN_APART void edge_of(const float* source, size_t point_step, const ConvTileOut& out,
                             size_t noise_row) const {
    alignas(64) float tile[kOut * kOut * kLanes];
    float noise[kOut * kOut] = {};
    for (int r = 0; r < out.rows; ++r) {
      for (int k = 0; k < out.columns; ++k) {
        noise[r * kOut + k] = out.noise[r * noise_row + k];
      }
    }
    ConvTileOut whole = out;
    whole.noise = noise, whole.to = tile, whole.row = kOut * kLanes;
    outputs_of(source, point_step, whole, kOut);
    for (int r = 0; r < out.rows; ++r) {
      std::memcpy(out.to + r * out.row, tile + r * kOut * kLanes,
                  sizeof(float) * kLanes * out.columns);
    }
  }

 private:
  // Two rows of points, from all of the tile: it is read once more for each pair, but nothing has
  // to leave the registers in between.
  template <int N>
  static FASTGAN_INLINE void rows_of(const float* const (&source)[kIn], Vec style, float* v,
                                     size_t step) {
    Vec points[2][kIn], line[kIn], transformed[kPoints];
    FASTGAN_UNROLL for (int c = 0; c < kIn; ++c) {
      FASTGAN_UNROLL for (int r = 0; r < kIn; ++r) line[r] = load(source[r] + c * kLanes);
      A::template data_pair<N>(line, transformed);
      FASTGAN_UNROLL for (int i = 0; i < 2; ++i) points[i][c] = transformed[A::pairs[N][i]] * style;
    }
    FASTGAN_UNROLL for (int i = 0; i < 2; ++i) store_row(points[i], A::pairs[N][i], v, step);
  }

  // Row p of the points, of the tile transformed along its columns.
  static FASTGAN_INLINE void store_row(const Vec (&columns)[kIn], int p, float* v, size_t step) {
    Vec transformed[kPoints];
    A::data(columns, transformed);
    FASTGAN_UNROLL for (int q = 0; q < kPoints; ++q) {
      store(v + (p * kPoints + q) * step, transformed[q]);
    }
  }

  template <bool kLimited>
  static FASTGAN_APART void finished_outputs_of(const float* source, size_t point_step,
                                                const ConvTileOut& out, size_t noise_row,
                                                const Finish& finish_in) {
    const Finish finish = finish_in;
    const Vec scale = load(out.scale), bias = load(out.bias);
    Vec outputs[kOut][kPoints], line[kPoints], y_line[kOut];
    FASTGAN_UNROLL for (int q = 0; q < kPoints; ++q) {
      FASTGAN_UNROLL for (int p = 0; p < kPoints; ++p) {
        line[p] = load(source + (p * kPoints + q) * point_step);
      }
      A::out(line, y_line);
      FASTGAN_UNROLL for (int r = 0; r < kOut; ++r) outputs[r][q] = y_line[r];
    }
    FASTGAN_UNROLL for (int r = 0; r < kOut; ++r) {
      A::out(outputs[r], y_line);
      FASTGAN_UNROLL for (int k = 0; k < kOut; ++k) {
        store(out.to + r * out.row + k * kLanes,
              finish.template run<kLimited>(y_line[k], scale, bias, out.noise[r * noise_row + k]));
      }
    }
  }

  const Finish finish_;
};

}  // namespace fastgan::engine::FASTGAN_STAMPED
