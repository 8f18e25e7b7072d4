// The engine's code for one instruction set, as functions. No torch in here.
#pragma once

#include <memory>

#include "cpu/isa.h"
#include "engine/image.h"
#include "engine/layer.h"

namespace fastgan::engine {

// Rows begin..end - 1 of a matrix, times a vector for each sample.
struct MatrixPart {
  const float* matrix;  // [rows][width], width in whole vectors
  int width;
  int begin, end;
  const float* x;  // [sample][width]
  size_t x_step;
  int samples;
  float* y;  // [sample][rows]
  size_t y_step;
};

struct Kernels {
  int lanes;
  std::unique_ptr<Layer> (*make_layer)(const LayerShape& shape, const Choice& choice,
                                       const Activation& activation, bool half, const float* weight,
                                       const float* bias);
  std::unique_ptr<ToImage> (*make_to_image)(const ImageShape& shape, const float* weight,
                                            const float* bias);
  // y = matrix x + bias, times slope where that is negative.
  void (*affine)(const MatrixPart& part, const float* bias, float slope);
  // y = gain / sqrt(matrix x^2 + 1e-8).
  void (*demodulate)(const MatrixPart& part, float gain);
};

const Kernels& kernels_of(cpu::Isa isa);

}  // namespace fastgan::engine
