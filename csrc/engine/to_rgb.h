// The image at a level: a modulated 1x1 convolution of the features, plus the image of the level
// below upsampled, row by row; the last level ends in bytes. Only in a stamped
// region.
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
        turned_(kQuarters && padded_ <= 2 * kLanes),
        limit_(shape.clamp >= 0 ? shape.clamp : std::numeric_limits<float>::infinity()),
        far_weight_(1 / (1 + shape.filter_ratio)),
        near_weight_(shape.filter_ratio / (1 + shape.filter_ratio)),
        weight_(size_t(shape.channels) * padded_),
        bias_(shape.channels) {
    for (int c = 0; c < shape.channels; ++c) {
      bias_[c] = bias[c];
      std::memcpy(weight_.get() + size_t(c) * padded_, weight + size_t(c) * shape.in_channels,
                  sizeof(float) * shape.in_channels);
    }
  }

  size_t weight_bytes() const override { return weight_.bytes(); }
  size_t modulated_floats() const override {
    return size_t(shape_.channels) * padded_ * (turned_ ? 4 : 1);
  }

  // Of few features, every vector four times, as turn_quarters turns pixels.
  void modulate(const float* styles, float* modulated) const override {
    for (int c = 0; c < shape_.channels; ++c) {
      for (int i = 0; i < padded_; i += kLanes) {
        const size_t at = size_t(c) * padded_ + i;
        const Vec weight = load(weight_.get() + at) * load(styles + i);
        if (!turned_) {
          store(modulated + at, weight);
          continue;
        }
        for (int lane = 0; lane < 4 * kLanes; ++lane) {
          modulated[4 * at + lane] = weight[(lane + lane / kLanes * 4) % kLanes];
        }
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
  static constexpr int kBlock = 64;  // pixels that loops work on at a time

  template <int C>
  void row_of(const ImageRow& row) const {
    row.around != nullptr ? blocks_of<C, true>(row) : blocks_of<C, false>(row);
  }

  template <int C, bool kAround>
  void blocks_of(const ImageRow& row) const {
    for (int first = 0; first < shape_.width; first += kBlock) {
      const int count = shape_.width - first < kBlock ? shape_.width - first : kBlock;
      alignas(64) float values[C][kBlock], below[C][kBlock / 2 + 2 * kLanes];
      // Long before it is read: loads that straddle two stores must wait until these are done.
      for (int c = 0; row.near != nullptr && c < C; ++c) {
        filter_rows(row, c, first / 2, count / 2, below[c]);
      }
      int x = 0;
      if constexpr (kQuarters) {
        for (; turned_ && x + 16 <= count; x += 16) {
          sixteen_pixels<C, kAround>(row, first + x, x, values);
        }
      }
      for (; x + 4 <= count; x += 4) pixels<C, 4, kAround>(row, first + x, x, values);
      for (; x < count; ++x) pixels<C, 1, kAround>(row, first + x, x, values);
      for (; x % (2 * kLanes) != 0; ++x) {
        for (int c = 0; c < C; ++c) values[c][x] = 0;
      }
      for (int c = 0; c < C; ++c) {
        finish(row.near == nullptr ? nullptr : below[c], c, count, values[c]);
      }
      if (row.line == nullptr) {
        uint8_t* const bytes = row.bytes + size_t(first) * C;
        for (int i = 0; i < kBlock * C; i += 64) prefetch_near(bytes + kBlock * C + i);
        to_bytes<C>(values, count, bytes);
        continue;
      }
      for (int c = 0; c < C; ++c) {
        float* const line = row.line + row.line_step * c + first;
        if (count == kBlock) {
          FASTGAN_UNROLL for (int i = 0; i < kBlock; i += kLanes) {
            store(line + i, load(values[c] + i));
          }
        } else {
          std::memcpy(line, values[c], sizeof(float) * count);
        }
      }
    }
  }

  // The products of P pixels from `first` on with the weights of C image channels, to place x.
  template <int C, int P, bool kAround>
  FASTGAN_INLINE void pixels(const ImageRow& row, int first, int x,
                             float (&values)[C][kBlock]) const {
    Vec acc[C][4];
    FASTGAN_UNROLL for (int c = 0; c < C; ++c) {
      FASTGAN_UNROLL for (int p = 0; p < 4; ++p) acc[c][p] = splat(0.0f);
    }
    const size_t at = size_t(first) * kLanes;
    const float* source = row.features + at;
    float* around = kAround ? row.around + at : nullptr;
    // Of turned weights the first of every four stands as it was.
    const int step = turned_ ? 4 : 1;
    for (int i = 0; i < padded_; i += kLanes, source += row.plane, around += row.around_plane) {
      Vec w[C];
      FASTGAN_UNROLL for (int c = 0; c < C; ++c) {
        w[c] = load(row.modulated + (size_t(c) * padded_ + i) * step);
      }
      FASTGAN_UNROLL for (int p = 0; p < P; ++p) {
        const Vec pixel = load(source + p * kLanes);
        if constexpr (kAround) stream(around + p * kLanes, pixel);
        FASTGAN_UNROLL for (int c = 0; c < C; ++c) acc[c][p] = fma(pixel, w[c], acc[c][p]);
      }
    }
    if constexpr (P == 4) {
      row_sums<C>(acc, values[0] + x, kBlock);
    } else {
      for (int c = 0; c < C; ++c) values[c][x] = sum(acc[c][0]);
    }
  }

  // The same for sixteen pixels of few features: their quarters change places before the products,
  // for all image channels at once, because sums of lanes would cost more than the products.
  template <int C, bool kAround>
  FASTGAN_INLINE void sixteen_pixels(const ImageRow& row, int first, int x,
                                     float (&values)[C][kBlock]) const {
    Vec sums[C][4];
    FASTGAN_UNROLL for (int c = 0; c < C; ++c) {
      FASTGAN_UNROLL for (int g = 0; g < 4; ++g) sums[c][g] = splat(0.0f);
    }
    const size_t at = size_t(first) * kLanes;
    const float* source = row.features + at;
    float* around = kAround ? row.around + at : nullptr;
    for (int i = 0; i < padded_; i += kLanes, source += row.plane, around += row.around_plane) {
      Vec turned[4][4], pixels[4];  // quarter p of turned[g][j]: of pixel 4 p + g
      FASTGAN_UNROLL for (int g = 0; g < 4; ++g) {
        FASTGAN_UNROLL for (int p = 0; p < 4; ++p) {
          pixels[p] = load(source + (4 * p + g) * kLanes);
          if constexpr (kAround) stream(around + (4 * p + g) * kLanes, pixels[p]);
        }
        turn_quarters(pixels, turned[g]);
      }
      FASTGAN_UNROLL for (int c = 0; c < C; ++c) {
        const float* weights = row.modulated + (size_t(c) * padded_ + i) * 4;
        FASTGAN_UNROLL for (int j = 0; j < 4; ++j) {
          const Vec w = load(weights + j * kLanes);
          FASTGAN_UNROLL for (int g = 0; g < 4; ++g) sums[c][g] = fma(turned[g][j], w, sums[c][g]);
        }
      }
    }
    FASTGAN_UNROLL for (int c = 0; c < C; ++c) store(values[c] + x, quarter_sums(sums[c]));
  }

  // Upsampling by 2 with the filter (1, r, r, 1) / (1 + r) along each axis: an output lies beside
  // one near input, of weight r / (1 + r), and one far input.

  // Across the rows: `count` inputs from input `first` on, and their two neighbours, to
  // below[kLanes - 1] and so on.
  void filter_rows(const ImageRow& row, int c, int first, int count, float* below) const {
    const float* near = row.near + row.below_step * c + first;
    const float* far = row.far + row.below_step * c + first;
    below[kLanes - 1] = near_weight_ * near[-1] + far_weight_ * far[-1];
    for (int x = 0; x <= count; x += kLanes) {
      const Vec far_part = splat(far_weight_) * load(far + x);
      store(below + kLanes + x, fma(splat(near_weight_), load(near + x), far_part));
    }
  }

  // Bias, clamp, and along the rows of what filter_rows made, for whole vectors. The clamp leaves
  // NaN as it is.
  void finish(const float* below, int c, int count, float* values) const {
    const Vec bias = splat(bias_[c]), limit = splat(limit_), least = splat(-limit_);
    for (int x = 0; x < count; x += kLanes) {
      store(values + x, max(least, min(limit, load(values + x) + bias)));
    }
    if (below == nullptr) return;
    const Vec far_weight = splat(far_weight_), near_weight = splat(near_weight_);
    for (int x = 0; x < count; x += 2 * kLanes) {
      const float* const here = below + kLanes + x / 2;
      const Vec near_part = near_weight * load(here);
      Vec sums[2];
      interleave(fma(far_weight, load(here - 1), near_part),
                 fma(far_weight, load(here + 1), near_part), sums);
      FASTGAN_UNROLL for (int i = 0; i < 2; ++i) {
        float* const to = values + x + i * kLanes;
        store(to, load(to) + sums[i]);
      }
    }
  }

  // round(127.5 x + 127.5) to 0..255, NaN to 0. Adding 1.5 * 2^23 rounds to an integer and leaves
  // it in the low bits.
  template <int C>
  void to_bytes(float (&values)[C][kBlock], int count, uint8_t* to) const {
    for (int c = 0; c < C; ++c) {
      for (int x = 0; x < count; x += kLanes) {
        const Vec y = fma(load(values[c] + x), splat(127.5f), splat(127.5f));
        store(values[c] + x, min(max(y, splat(0.0f)), splat(255.0f)));
      }
    }
    int x = 0;
    if constexpr (kQuarters && C == 3) {
      for (; x + kLanes <= count; x += kLanes) {
        const Vec channels[3] = {load(values[0] + x), load(values[1] + x), load(values[2] + x)};
        store_triples(to + x * C, channels);
      }
    }
    for (; x < count; ++x) {
      for (int c = 0; c < C; ++c) {
        to[x * C + c] = static_cast<uint8_t>(bits_of(values[c][x] + 12582912.0f));
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
  const bool turned_;  // see modulate
  const float limit_, far_weight_, near_weight_;
  Buffer<float> weight_, bias_;
};

}  // namespace fastgan::engine::FASTGAN_STAMPED
