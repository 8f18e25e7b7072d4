// Styles and demodulation: products of a matrix with one vector for each sample, read once for all
// samples. Only in a stamped region.
#pragma once

#include "cpu/vector.h"
#include "engine/kernels.h"

namespace fastgan::engine::FASTGAN_STAMPED {

using namespace fastgan::cpu::FASTGAN_STAMPED;

constexpr int kStreams = 8;  // as of ReadAhead: rows of so many parts of a matrix at once

// products[r] = row r of kRows rows that lie row_step apart, times x (or its squares).
template <bool kSquare, int kRows>
inline void dots(const float* a, size_t row_step, const float* x, int width, float* products) {
  Vec acc[kRows];
  FASTGAN_UNROLL for (int r = 0; r < kRows; ++r) acc[r] = splat(0.0f);
  for (int i = 0; i < width; i += kLanes) {
    const Vec value = load(x + i), factor = kSquare ? value * value : value;
    FASTGAN_UNROLL for (int r = 0; r < kRows; ++r) {
      acc[r] = fma(load(a + r * row_step + i), factor, acc[r]);
    }
  }
  for (int r = 0; r < kRows; ++r) products[r] = sum(acc[r]);
}

// finish(product, row) for the rows of a part, kStreams of them at a time, far apart.
template <bool kSquare, typename Finish>
inline void multiply(const MatrixPart& part, const Finish& finish) {
  const int step = (part.end - part.begin) / kStreams;
  const float* const first = part.matrix + size_t(part.begin) * part.width;
  for (int row = 0; row < step; ++row) {
    for (int n = 0; n < part.samples; ++n) {
      float products[kStreams];
      dots<kSquare, kStreams>(first + size_t(row) * part.width, size_t(step) * part.width,
                              part.x + part.x_step * n, part.width, products);
      for (int r = 0; r < kStreams; ++r) {
        const int at = part.begin + r * step + row;
        part.y[part.y_step * n + at] = finish(products[r], at);
      }
    }
  }
  for (int at = part.begin + kStreams * step; at < part.end; ++at) {
    for (int n = 0; n < part.samples; ++n) {
      float product;
      dots<kSquare, 1>(part.matrix + size_t(at) * part.width, 0, part.x + part.x_step * n,
                       part.width, &product);
      part.y[part.y_step * n + at] = finish(product, at);
    }
  }
}

void affine(const MatrixPart& part, const float* bias, float slope) {
  multiply<false>(part, [=](float product, int row) {
    const float y = product + bias[row];
    return y > 0 ? y : y * slope;
  });
}

void demodulate(const MatrixPart& part, float gain) {
  multiply<true>(part, [=](float energy, int) { return gain / __builtin_sqrtf(energy + 1e-8f); });
}

}  // namespace fastgan::engine::FASTGAN_STAMPED
