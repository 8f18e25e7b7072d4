// The 4 x 4 separable filter of conv2d_resample, both passes in one: a vector of channels goes
// along a row, each pixel filtered across four rows first. Only in a stamped region.
#pragma once

#include "cpu/minimal_filter.h"

namespace fastgan::cpu::FASTGAN_STAMPED {

// One vector of channels of four rows, pixel by pixel.
struct FourRows {
  const float* row[4];
  int64_t step[4];  // 0 for a row that is outside of the image, which points to zeros
  Vec taps[4];

  inline __attribute__((always_inline)) Vec at(int64_t x) const {
    Vec value = taps[0] * load(row[0] + x * step[0]);
    FASTGAN_UNROLL for (int i = 1; i < 4; ++i) {
      value = fma(taps[i], load(row[i] + x * step[i]), value);
    }
    return value;
  }

  inline __attribute__((always_inline)) Vec across(Vec a, Vec b, Vec c, Vec d) const {
    return fma(taps[3], d, fma(taps[2], c, fma(taps[1], b, taps[0] * a)));
  }
};

// to[x] = sum_b taps[b] rows[x + b], for `width` pixels.
static inline void filter_rows(const FourRows& rows, int64_t width, float* to, int64_t to_step) {
  Vec a = rows.at(0), b = rows.at(1), c = rows.at(2);
  int64_t x = 0;
  for (; x + 4 <= width; x += 4, to += 4 * to_step) {  // by four, so that no vector is moved
    const Vec d = rows.at(x + 3);
    store(to, rows.across(a, b, c, d));
    a = rows.at(x + 4);
    store(to + to_step, rows.across(b, c, d, a));
    b = rows.at(x + 5);
    store(to + 2 * to_step, rows.across(c, d, a, b));
    c = rows.at(x + 6);
    store(to + 3 * to_step, rows.across(d, a, b, c));
    // d, a, b, c are pixels x + 3 to x + 6, of which the next three begin at x + 4: a, b, c.
  }
  for (; x < width; ++x, to += to_step) {
    const Vec d = rows.at(x + 3);
    store(to, rows.across(a, b, c, d));
    a = b, b = c, c = d;
  }
}

// Pixels ahead at which filter_padded_rows asks for the next line of memory: other channels lie
// between two pixels, and the processor does not foresee such steps.
constexpr int64_t kAhead = 16;

// As filter_rows for rows of `width` pixels with two zeros before and after: width + 1 pixels.
static inline void filter_padded_rows(const FourRows& rows, int64_t width, float* to,
                                      int64_t to_step) {
  const Vec zero = splat(0.0f);
  Vec a = zero, b = zero, c = rows.at(0), d = width > 1 ? rows.at(1) : zero;
  int64_t x = 0;
  for (; x + 6 <= width; x += 4, to += 4 * to_step) {
    FASTGAN_UNROLL for (int i = 0; i < 4; ++i) {
      __builtin_prefetch(rows.row[3] + (x + i + kAhead) * rows.step[3]);
    }
    store(to, rows.across(a, b, c, d));
    a = rows.at(x + 2);
    store(to + to_step, rows.across(b, c, d, a));
    b = rows.at(x + 3);
    store(to + 2 * to_step, rows.across(c, d, a, b));
    c = rows.at(x + 4);
    store(to + 3 * to_step, rows.across(d, a, b, c));
    d = rows.at(x + 5);
  }
  for (; x <= width; ++x, to += to_step) {
    store(to, rows.across(a, b, c, d));
    a = b, b = c, c = d;
    d = x + 2 < width ? rows.at(x + 2) : zero;
  }
}

// S of a strip: rows 2 first .. of an image [2 height, 2 width, channels], `rows` of them and
// `columns` pixels each, for `vectors` vectors of channels; zero outside of [0, 2 height].
static inline void filter_down(const float* image, int64_t height, int64_t width, int64_t channels,
                               const float* taps, int64_t first, int64_t rows, int64_t columns,
                               int vectors, float* s) {
  alignas(64) static const float kZeros[kLanes] = {};
  const int64_t pixel = vectors * kLanes, line = width * channels;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t r = first + i;
    for (int n = 0; n < vectors; ++n) {
      float* to = s + i * columns * pixel + n * kLanes;
      int64_t done = 0;
      if (r <= height) {
        FourRows source;
        for (int a = 0; a < 4; ++a) {
          const int64_t y = r - 2 + a;
          const bool inside = y >= 0 && y < height;
          source.row[a] = inside ? image + y * line + n * kLanes : kZeros;
          source.step[a] = inside ? channels : 0;
          source.taps[a] = splat(taps[a]);
        }
        filter_padded_rows(source, width, to, pixel);
        done = width + 1;
      }
      for (int64_t x = done; x < columns; ++x) store(to + x * pixel, splat(0.0f));
    }
  }
}

}  // namespace fastgan::cpu::FASTGAN_STAMPED
