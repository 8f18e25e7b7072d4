// The image at a level: a modulated 1x1 convolution of the features, plus the image of the level
// below upsampled, row by row; the last level ends in bytes. Only in a stamped region.
#pragma once

#include "engine/arena.h"
#include "engine/image.h"
#include "engine/layer.h"

namespace fastgan::engine::FASTGAN_STAMPED {

using namespace fastgan::cpu::FASTGAN_STAMPED;

class ToRgb final : public ToImage {
 public:
  explicit ToRgb(const ImageShape& shape, const float* weight, const float* bias)
      : shape_(shape),
        padded_(vectors(shape.in_channels, kLanes) * kLanes),
        weight_(size_t(shape.channels) * padded_),
        bias_(shape.channels) {
    for (int c = 0; c < shape.channels; ++c) {
      bias_[c] = bias[c];
      std::memcpy(weight_.get() + size_t(c) * padded_, weight + size_t(c) * shape.in_channels,
                  sizeof(float) * shape.in_channels);
    }
  }

  size_t weight_bytes() const override { return weight_.bytes(); }
  size_t modulated_floats() const override { return size_t(shape_.channels) * padded_; }

  void modulate(const float* styles, float* modulated) const override {
    for (int c = 0; c < shape_.channels; ++c) {
      for (int i = 0; i < padded_; i += kLanes) {
        const size_t at = size_t(c) * padded_ + i;
        store(modulated + at, load(weight_.get() + at) * load(styles + i));
      }
    }
  }

  void row(const ImageRow& row) const override {
    switch (shape_.channels) {
      case 1:
        return row_of<1>(row);
      case 2:
        return row_of<2>(row);
      case 3:
        return row_of<3>(row);
      default:
        return row_of<4>(row);
    }
  }

 private:
  template <int C>
  void row_of(const ImageRow& row) const {
    const int width = shape_.width;
    int x = 0;
    if constexpr (kQuarters) {
      if (padded_ <= 2 * kLanes) {
        for (; x + 16 <= width; x += 16) sixteen_pixels<C>(row, x);
      }
    }
    for (; x + 4 <= width; x += 4) pixels<C, 4>(row, x);
    for (; x < width; ++x) pixels<C, 1>(row, x);
    const bool limited = shape_.clamp >= 0;
    for (int c = 0; c < C; ++c) {
      float* line = row.line + row.line_step * c;
      for (int i = 0; i < width; ++i) {
        float y = line[i] + bias_[c];
        if (limited) y = y > shape_.clamp ? shape_.clamp : y < -shape_.clamp ? -shape_.clamp : y;
        line[i] = y;
      }
      if (row.near != nullptr) add_upsampled(row, c, line);
    }
    if (row.bytes != nullptr) to_bytes<C>(row);
  }

  // The products of P pixels with the weights of C image channels.
  template <int C, int P>
  FASTGAN_INLINE void pixels(const ImageRow& row, int x) const {
    Vec acc[C][4];
    FASTGAN_UNROLL for (int c = 0; c < C; ++c) {
      FASTGAN_UNROLL for (int p = 0; p < 4; ++p) acc[c][p] = splat(0.0f);
    }
    const float* source = row.features + size_t(x) * kLanes;
    for (int i = 0; i < padded_; i += kLanes, source += row.plane) {
      Vec w[C];
      FASTGAN_UNROLL for (int c = 0; c < C; ++c) {
        w[c] = load(row.modulated + size_t(c) * padded_ + i);
      }
      FASTGAN_UNROLL for (int p = 0; p < P; ++p) {
        const Vec pixel = load(source + p * kLanes);
        FASTGAN_UNROLL for (int c = 0; c < C; ++c) acc[c][p] = fma(pixel, w[c], acc[c][p]);
      }
    }
    float* to = row.line + x;
    if constexpr (P == 4) {
      row_sums<C>(acc, to, row.line_step);
    } else {
      for (int c = 0; c < C; ++c) to[row.line_step * c] = sum(acc[c][0]);
    }
  }

  // The same for sixteen pixels of few features: their quarters change places before the products,
  // for all image channels at once, because sums of lanes would cost more than the products.
  template <int C>
  FASTGAN_INLINE void sixteen_pixels(const ImageRow& row, int x) const {
    Vec sums[C][4];
    FASTGAN_UNROLL for (int c = 0; c < C; ++c) {
      FASTGAN_UNROLL for (int g = 0; g < 4; ++g) sums[c][g] = splat(0.0f);
    }
    const float* source = row.features + size_t(x) * kLanes;
    for (int i = 0; i < padded_; i += kLanes, source += row.plane) {
      Vec parts[4][4], pixels[4];  // quarter p of parts[g][q]: quarter q of pixel 4 g + p
      FASTGAN_UNROLL for (int g = 0; g < 4; ++g) {
        FASTGAN_UNROLL for (int p = 0; p < 4; ++p) pixels[p] = load(source + (4 * g + p) * kLanes);
        transpose_quarters(pixels, parts[g]);
      }
      FASTGAN_UNROLL for (int c = 0; c < C; ++c) {
        FASTGAN_UNROLL for (int q = 0; q < 4; ++q) {
          const Vec w = load_quarter(row.modulated + size_t(c) * padded_ + i + 4 * q);
          FASTGAN_UNROLL for (int g = 0; g < 4; ++g) sums[c][g] = fma(parts[g][q], w, sums[c][g]);
        }
      }
    }
    FASTGAN_UNROLL for (int c = 0; c < C; ++c) {
      store(row.line + row.line_step * c + x, quarter_sums(sums[c]));
    }
  }

  static constexpr int kBlock = 64;  // pixels of a row that loops work on at a time

  // Upsampling by 2 with the filter (1, r, r, 1) / (1 + r) along each axis: an output lies beside
  // one near input, of weight r / (1 + r), and one far input.
  void add_upsampled(const ImageRow& row, int c, float* __restrict line) const {
    const float far_weight = 1 / (1 + shape_.filter_ratio);
    const float near_weight = shape_.filter_ratio * far_weight;
    const int half = shape_.width / 2;
    const float* near = row.near + row.below_step * c;
    const float* far = row.far == nullptr ? near : row.far + row.below_step * c;
    const float across = row.far == nullptr ? 0.0f : far_weight;
    for (int first = 0; first < half; first += kBlock) {
      const int count = half - first < kBlock ? half - first : kBlock;
      float mixed[kBlock + 2];  // the inputs first - 1 .. first + count, filtered across the rows
      mixed[0] = first > 0 ? near_weight * near[first - 1] + across * far[first - 1] : 0.0f;
      const int last = first + count;
      mixed[count + 1] = last < half ? near_weight * near[last] + across * far[last] : 0.0f;
      for (int x = 0; x < count; ++x) {
        mixed[x + 1] = near_weight * near[first + x] + across * far[first + x];
      }
      float* to = line + 2 * first;
      for (int x = 0; x < count; ++x) {
        to[2 * x] += far_weight * mixed[x] + near_weight * mixed[x + 1];
        to[2 * x + 1] += near_weight * mixed[x + 1] + far_weight * mixed[x + 2];
      }
    }
  }

  // round(127.5 x + 127.5) to 0..255, NaN to 0. Adding 1.5 * 2^23 rounds to an integer and leaves
  // it in the low bits.
  template <int C>
  void to_bytes(const ImageRow& row) const {
    for (int first = 0; first < shape_.width; first += kBlock) {
      const int count = shape_.width - first < kBlock ? shape_.width - first : kBlock;
      uint8_t levels[C][kBlock];
      for (int c = 0; c < C; ++c) {
        const float* line = row.line + row.line_step * c + first;
        for (int x = 0; x < count; ++x) {
          float y = line[x] * 127.5f + 127.5f;
          y = y > 0.0f ? y : 0.0f;
          levels[c][x] = static_cast<uint8_t>(bits_of((y < 255.0f ? y : 255.0f) + 12582912.0f));
        }
      }
      uint8_t* to = row.bytes + first * C;
      for (int x = 0; x < count; ++x) {
        for (int c = 0; c < C; ++c) to[x * C + c] = levels[c][x];
      }
    }
  }

  static inline uint32_t bits_of(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
  }

  const ImageShape shape_;
  const int padded_;
  Buffer<float> weight_, bias_;
};

}  // namespace fastgan::engine::FASTGAN_STAMPED
