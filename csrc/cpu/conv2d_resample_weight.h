// Weights of conv2d_resample at the points of minimal filtering, the products with them, and the
// way back for the gradient. Only in a stamped region.
#pragma once

#include "cpu/conv2d_resample_tiles.h"

namespace fastgan::cpu::FASTGAN_STAMPED {

// Points of a 3-tap weight: first[p] w[0] + last[p] w[2], and w[1] for odd outputs.
template <class A>
struct WeightPoints {
  float first[A::kPoints], last[A::kPoints];

  WeightPoints() {
    double p[A::kPoints];
    A::weight(1.0, 0.0, p);
    for (int i = 0; i < A::kPoints; ++i) first[i] = static_cast<float>(p[i]);
    A::weight(0.0, 1.0, p);
    for (int i = 0; i < A::kPoints; ++i) last[i] = static_cast<float>(p[i]);
  }

  inline void spread(Vec a, Vec b, Vec c, Vec* to) const {
    FASTGAN_UNROLL for (int i = 0; i < A::kPoints; ++i) {
      to[i] = fma(splat(first[i]), a, splat(last[i]) * c);
    }
    to[A::kPoints] = b;
  }
  inline void gather(const Vec* from, Vec* to) const {
    to[0] = splat(0.0f), to[2] = splat(0.0f), to[1] = from[A::kPoints];
    FASTGAN_UNROLL for (int i = 0; i < A::kPoints; ++i) {
      to[0] = fma(splat(first[i]), from[i], to[0]);
      to[2] = fma(splat(last[i]), from[i], to[2]);
    }
  }
};

struct PackSizes {
  int inputs, outputs, vectors;
  int64_t columns;

  PackSizes(const ResampleCall& call, bool up)
      : inputs(up ? call.low : call.high),
        outputs(up ? call.high : call.low),
        vectors(column_vectors(outputs)),
        columns(vectors * kLanes) {}
};

template <class A>
int64_t packed_size(const ResampleCall& call) {
  return static_cast<int64_t>(Tile<A>::kJobs) * call.low * call.high;
}

// A unit is one block of columns for kLanes inputs.
template <class A>
int64_t pack_units(const ResampleCall& call, bool up) {
  const PackSizes size(call, up);
  return size.outputs / size.columns * (size.inputs / kLanes);
}

// [block of columns][job][input][columns of the block]
template <class A>
void pack(const ResampleCall& call, bool up, const ResampleWeight& weight, float* packed,
          int64_t begin, int64_t end) {
  using T = Tile<A>;
  const PackSizes size(call, up);
  const WeightPoints<A> points;
  const int64_t in = up ? weight.low : weight.high, out = up ? weight.high : weight.low;
  const int64_t job = size.inputs * size.columns;
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t block = unit / (size.inputs / kLanes),
                  k0 = unit % (size.inputs / kLanes) * kLanes;
    for (int64_t k = k0; k < k0 + kLanes; ++k) {
      for (int v = 0; v < size.vectors; ++v) {
        const int64_t n = block * size.columns + v * kLanes;
        float values[9][kLanes];
        for (int i = 0; i < kLanes; ++i) {
          const float* from = weight.data + k * in + (n + i) * out;
          for (int tap = 0; tap < 9; ++tap) values[tap][i] = from[weight.taps[tap]];
        }
        Vec along[T::kSide][3], spread[T::kSide];
        for (int x = 0; x < 3; ++x) {
          points.spread(load(values[x]), load(values[3 + x]), load(values[6 + x]), spread);
          for (int p = 0; p < T::kSide; ++p) along[p][x] = spread[p];
        }
        float* to = packed + block * T::kJobs * job + k * size.columns + v * kLanes;
        for (int p = 0; p < T::kSide; ++p) {
          points.spread(along[p][0], along[p][1], along[p][2], spread);
          for (int q = 0; q < T::kSide; ++q) store(to + (p * T::kSide + q) * job, spread[q]);
        }
      }
    }
  }
}

// The products of every job with one block of columns.
template <class A>
void multiply(const Plan<A>& plan, int blocks, int vectors, const float* input, const float* packed,
              float* product) {
  const int64_t columns = vectors * kLanes, size = blocks * kLanes * columns;
  for (int job = 0; job < Tile<A>::kJobs; ++job, packed += size) {
    const int kind = Tile<A>::kind(job), panel = plan.panel[kind];
    const int64_t rows = plan.tiles * Tile<A>::rows(kind), panels = divide_up(rows, panel);
    ReadAhead next(packed + size, size * sizeof(float));
    const float* v = input + plan.input[job];
    float* m = product + plan.product[job] * columns;
    for (int64_t row = 0, left = panels; row < rows; row += panel, --left) {
      const int count = static_cast<int>(least(panel, rows - row));
      panel_product_of<false, float>(vectors, count)(blocks, v + row * blocks * kLanes,
                                                     panel * kLanes, packed, m + row * columns,
                                                     next.take(static_cast<int>(left), blocks));
    }
  }
}

// Low pixels of the tile (y, x) of an image to points, channels from `first` on.
template <class A>
inline void low_tile_to_points(const ResampleCall& call, const float* image, int64_t y, int64_t x,
                               int64_t first, int blocks, const Plan<A>& plan, float* to,
                               int64_t tile) {
  const int64_t top = y * A::kIn, left = x * A::kIn;
  const int64_t rows = least(A::kIn, call.height - top), columns = least(A::kIn, call.width - left);
  const int64_t line = call.width * call.low;
  const float* from = image + top * line + left * call.low + first;
  for (int block = 0; block < blocks; ++block, from += kLanes) {
    Vec pixels[A::kIn][A::kIn];
    if (rows == A::kIn && columns == A::kIn) {
      FASTGAN_UNROLL for (int i = 0; i < A::kIn; ++i) {
        FASTGAN_UNROLL for (int j = 0; j < A::kIn; ++j) {
          pixels[i][j] = load(from + i * line + j * call.low);
        }
      }
    } else {
      for (int i = 0; i < A::kIn; ++i) {
        for (int j = 0; j < A::kIn; ++j) {
          const bool inside = i < rows && j < columns;
          pixels[i][j] = inside ? load(from + i * line + j * call.low) : splat(0.0f);
        }
      }
    }
    low_to_points<A>(pixels, Points<A>{plan, to, tile, block});
  }
}

}  // namespace fastgan::cpu::FASTGAN_STAMPED
