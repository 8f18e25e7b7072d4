// Styles and demodulation: products of a matrix with one vector for each sample, read once for all
// samples. Only in a stamped region.
#pragma once

#include "cpu/vector.h"
#include "engine/kernels.h"

namespace fastgan::engine::FASTGAN_STAMPED {

using namespace fastgan::cpu::FASTGAN_STAMPED;

template <bool kSquare>
inline float dot(const float* a, const float* x, int width) {
  Vec acc[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
  int i = 0;
  for (; i + 4 * kLanes <= width; i += 4 * kLanes) {
    FASTGAN_UNROLL for (int k = 0; k < 4; ++k) {
      const Vec value = load(x + i + k * kLanes);
      acc[k] = fma(load(a + i + k * kLanes), kSquare ? value * value : value, acc[k]);
    }
  }
  for (; i < width; i += kLanes) {
    const Vec value = load(x + i);
    acc[0] = fma(load(a + i), kSquare ? value * value : value, acc[0]);
  }
  return sum((acc[0] + acc[1]) + (acc[2] + acc[3]));
}

void affine(const MatrixPart& part, const float* bias) {
  for (int row = part.begin; row < part.end; ++row) {
    const float* a = part.matrix + size_t(row) * part.width;
    for (int n = 0; n < part.samples; ++n) {
      part.y[part.y_step * n + row] =
          dot<false>(a, part.x + part.x_step * n, part.width) + bias[row];
    }
  }
}

void demodulate(const MatrixPart& part, float gain) {
  for (int row = part.begin; row < part.end; ++row) {
    const float* a = part.matrix + size_t(row) * part.width;
    for (int n = 0; n < part.samples; ++n) {
      const float energy = dot<true>(a, part.x + part.x_step * n, part.width);
      part.y[part.y_step * n + row] = gain / __builtin_sqrtf(energy + 1e-8f);
    }
  }
}

}  // namespace fastgan::engine::FASTGAN_STAMPED
