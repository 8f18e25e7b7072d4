// Tiles of a phase of an image to points and back, in two dimensions, for channels-last images of
// any size and any number of channels. Only in a stamped region.
#pragma once

#include "cpu/conv4x4_filter.h"
#include "cpu/conv4x4_plan.h"
#include "cpu/isa.h"

namespace fastgan::cpu::conv4x4::FASTGAN_STAMPED {

using namespace fastgan::cpu::FASTGAN_STAMPED;

// The first `count` floats of a vector: for the last channels where they do not fill one.
static inline Vec load_some(const float* p, int64_t count) {
  float values[kLanes] = {};
  std::memcpy(values, p, count * sizeof(float));
  return load(values);
}

static inline void store_some(float* p, Vec a, int64_t count) {
  float values[kLanes];
  store(values, a);
  std::memcpy(p, values, count * sizeof(float));
}

// The pixels of an image that belong to one phase: pixel i of the phase is pixel step * i + shift
// of the image, along each axis.
template <typename Pointer>
struct Phase {
  Pointer pixels;
  int64_t height, width, channels;
  int step, shift_y, shift_x;
};

// Reads a tile and its border, to points, as the convolution needs it.
template <typename Filter>
struct OfInput {
  static constexpr int kIn = Filter::kOut + 1;
  static FASTGAN_INLINE void apply(const Vec* x, Vec* p) { Filter::data(x, p); }
};

// Reads a tile, to points, for the gradient of the weight: the adjoint of the way out.
template <typename Filter>
struct OfGradient {
  static constexpr int kIn = Filter::kOut;
  static FASTGAN_INLINE void apply(const Vec* y, Vec* p) { Filter::out_adjoint(y, p); }
};

constexpr int kTogether = 8;  // tiles whose addresses are found at once
// What pixels outside of the image are read from, by images of at most as many channels.
constexpr int64_t kMostZeros = 2048;
alignas(64) static const float kZeros[kMostZeros] = {};

template <int kIn>
struct Addresses {
  const float* pixels[kIn * kIn];
  int64_t outside;  // bits of the pixels that are outside of the image
};

template <int kIn>
void find_pixels(const Plan& plan, const Phase<const float*>& image, int64_t index,
                 Addresses<kIn>& to) {
  const int64_t sample = index / (plan.tiles_y * plan.tiles_x);
  const int64_t top = index / plan.tiles_x % plan.tiles_y * plan.tile;
  const int64_t left = index % plan.tiles_x * plan.tile;
  to.outside = 0;
  for (int i = 0; i < kIn; ++i) {
    const int64_t y = image.step * (top + i) + image.shift_y;
    for (int j = 0; j < kIn; ++j) {
      const int64_t x = image.step * (left + j) + image.shift_x;
      const bool in = y >= 0 && y < image.height && x >= 0 && x < image.width;
      to.outside |= int64_t{!in} << (i * kIn + j);
      to.pixels[i * kIn + j] =
          in ? image.pixels + ((sample * image.height + y) * image.width + x) * image.channels
             : kZeros;
    }
  }
}

// One vector of channels of one tile; point (p, q) goes to v + (p * kPoints + q) * plane. kAll: all
// addresses can be read from, and all lanes are channels.
template <typename Filter, typename Transform, bool kAll>
FASTGAN_APART void tile_to_points(const Addresses<Transform::kIn>& read, int64_t c, int64_t count,
                                  float* v, int64_t plane) {
  constexpr int kIn = Transform::kIn, kPoints = Filter::kPoints;
  Vec rows[kIn][kPoints];
  FASTGAN_UNROLL
  for (int i = 0; i < kIn; ++i) {
    Vec pixels[kIn];
    FASTGAN_UNROLL
    for (int j = 0; j < kIn; ++j) {
      const int at = i * kIn + j;
      if (kAll) {
        pixels[j] = load(read.pixels[at] + c);
      } else {
        const float* from = read.outside >> at & 1 ? kZeros : read.pixels[at] + c;
        pixels[j] = count == kLanes ? load(from) : load_some(from, count);
      }
    }
    Transform::apply(pixels, rows[i]);
  }
  FASTGAN_UNROLL
  for (int q = 0; q < kPoints; ++q) {
    Vec column[kIn], points[kPoints];
    FASTGAN_UNROLL
    for (int i = 0; i < kIn; ++i) column[i] = rows[i][q];
    Transform::apply(column, points);
    FASTGAN_UNROLL
    for (int p = 0; p < kPoints; ++p) store(v + (p * kPoints + q) * plane, points[p]);
  }
}

// Tiles [begin, end) of a chunk that starts at tile `first`; block b of the channels goes to block
// b * block_step of v, which has `blocks` blocks. What a tile writes is close together.
template <typename Filter, typename Transform>
void tiles_to_points(const Plan& plan, const Phase<const float*>& image, int64_t blocks,
                     int block_step, float* v, int64_t first, int64_t begin, int64_t end) {
  Addresses<Transform::kIn> tiles[kTogether];
  float* to[kTogether];
  const int64_t plane = plan.pixel_plane(), step = block_step * plan.pixel_block();
  for (int64_t t = begin; t < end; t += kTogether) {
    const int count = end - t < kTogether ? int(end - t) : kTogether;
    for (int i = 0; i < count; ++i) {
      find_pixels(plan, image, first + t + i, tiles[i]);
      const int64_t group = (t + i) / plan.group, row = (t + i) % plan.group;
      to[i] = v + group * blocks * plan.pixel_block() + row * kLanes;
    }
    for (int64_t c = 0, at = 0; c < image.channels; c += kLanes, at += step) {
      const int64_t left = image.channels - c, some = left < kLanes ? left : kLanes;
      for (int i = 0; i < count; ++i) {
        if (some == kLanes && (tiles[i].outside == 0 || image.channels <= kMostZeros)) {
          tile_to_points<Filter, Transform, true>(tiles[i], c, some, to[i] + at, plane);
        } else {
          tile_to_points<Filter, Transform, false>(tiles[i], c, some, to[i] + at, plane);
        }
      }
    }
  }
}

// One vector of channels of one tile: points, `plane` apart, to outputs.
template <typename Filter>
FASTGAN_INLINE void points_to_tile(const float* m, int64_t plane,
                                   Vec (&y)[Filter::kOut][Filter::kOut]) {
  constexpr int kOut = Filter::kOut, kPoints = Filter::kPoints;
  Vec rows[kPoints][kOut];
  FASTGAN_UNROLL
  for (int p = 0; p < kPoints; ++p) {
    Vec points[kPoints];
    FASTGAN_UNROLL
    for (int q = 0; q < kPoints; ++q) points[q] = load(m + (p * kPoints + q) * plane);
    Filter::out(points, rows[p]);
  }
  FASTGAN_UNROLL
  for (int j = 0; j < kOut; ++j) {
    Vec column[kPoints], outputs[kOut];
    FASTGAN_UNROLL
    for (int p = 0; p < kPoints; ++p) column[p] = rows[p][j];
    Filter::out(column, outputs);
    FASTGAN_UNROLL
    for (int i = 0; i < kOut; ++i) y[i][j] = outputs[i];
  }
}

// Pixels of a phase from `at` on that lie in an image of `size` pixels, `most` at most.
static inline int inside(int64_t at, int step, int shift, int64_t size, int most) {
  const int64_t left = (size - shift - 1) / step + 1 - at;
  return left < most ? int(left) : most;
}

// Such outputs to where they lie: `row` and `pixel` apart, all of them.
template <typename Filter>
FASTGAN_APART void put_tile(const float* m, int64_t plane, float* to, int64_t row, int64_t pixel) {
  constexpr int kOut = Filter::kOut;
  Vec values[kOut][kOut];
  points_to_tile<Filter>(m, plane, values);
  FASTGAN_UNROLL
  for (int i = 0; i < kOut; ++i) {
    FASTGAN_UNROLL
    for (int j = 0; j < kOut; ++j) store(to + i * row + j * pixel, values[i][j]);
  }
}

// The same for a tile of which a part lies in the image.
template <typename Filter>
FASTGAN_APART void put_part(const float* m, int64_t plane, float* to, int64_t row, int64_t pixel,
                            int rows, int columns, int64_t count) {
  constexpr int kOut = Filter::kOut;
  Vec values[kOut][kOut];
  points_to_tile<Filter>(m, plane, values);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) store_some(to + i * row + j * pixel, values[i][j], count);
  }
}

// `count` tiles from `first` on, channels [from, from + vectors * kLanes), out of
// m: [points][tiles][vectors][kLanes], planes `plane` apart.
template <typename Filter>
void points_to_tiles(const Plan& plan, const Phase<float*>& image, const float* m, int64_t plane,
                     int64_t first, int64_t count, int64_t from, int vectors) {
  constexpr int kOut = Filter::kOut;
  const int64_t row = image.step * image.width * image.channels;
  const int64_t pixel = image.step * image.channels;
  for (int64_t index = first; index < first + count; ++index) {
    const int64_t sample = index / (plan.tiles_y * plan.tiles_x);
    const int64_t top = index / plan.tiles_x % plan.tiles_y * kOut;
    const int64_t left = index % plan.tiles_x * kOut;
    const int rows = inside(top, image.step, image.shift_y, image.height, kOut);
    const int columns = inside(left, image.step, image.shift_x, image.width, kOut);
    const int64_t y = image.step * top + image.shift_y, x = image.step * left + image.shift_x;
    float* const to =
        image.pixels + ((sample * image.height + y) * image.width + x) * image.channels;
    for (int n = 0; n < vectors; ++n, m += kLanes) {
      const int64_t c = from + n * kLanes, rest = image.channels - c;
      if (rows == kOut && columns == kOut && rest >= kLanes) {
        put_tile<Filter>(m, plane, to + c, row, pixel);
      } else {
        put_part<Filter>(m, plane, to + c, row, pixel, rows, columns,
                         rest < kLanes ? rest : kLanes);
      }
    }
  }
}

}  // namespace fastgan::cpu::conv4x4::FASTGAN_STAMPED
