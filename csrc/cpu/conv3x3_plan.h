// What a 3x3 convolution computes and how it is cut into units: shapes, memory layouts and the
// table of kernels that each instruction set offers. No torch, no loops over pixels.
//
// Tiles of kOut x kOut outputs are transformed (minimal_filter.h) to kPoints x kPoints points, at
// which the convolution is a matrix product over channels. A thread works on a strip of tiles at a
// time, so that what is between the transforms stays in its second-level cache.
#pragma once

#include <cstdint>

namespace fastgan::cpu::conv3x3 {

// Floats between planes of a layout beyond its size: planes a power of two apart would fall into
// the same sets of the caches.
constexpr int64_t kPlanePad = 80;
constexpr int kPanel = 2;  // vectors of output channels that one product computes

struct Plan {
  int64_t samples, height, width;
  int64_t in, out;              // channels of x and of y (or of grad_y)
  int64_t in_blocks, out_vecs;  // the same in vectors, rounded up
  int tile;                     // outputs of a tile along each axis: 2 or 4
  int64_t tiles_y, tiles_x, tiles;
  int64_t strip;  // tiles of a strip at most

  int points() const { return (tile + 2) * (tile + 2); }
  int64_t panels() const { return (out_vecs + kPanel - 1) / kPanel; }
};

// What the weight gradient adds to that: sums over the tiles of a group are apart from those of
// others, and the points of a tile are computed in `slices`.
struct GradPlan : Plan {
  int64_t groups;
  int slices;
};

// The weight [out, in, 3, 3], or with `transposed` [in, out, 3, 3] to be flipped.
struct Kernels {
  int lanes;
  // Sizes in floats of the transformed weight and of what a strip needs.
  int64_t (*packed)(const Plan& plan);
  int64_t (*scratch)(const Plan& plan);
  // Transforms blocks [begin, end) of panels() * in_blocks of the weight into `packed`.
  void (*pack)(const Plan& plan, const float* weight, bool transposed, float* packed, int64_t begin,
               int64_t end);
  // Computes the tiles of strips [begin, end). x and y: channels last.
  void (*strips)(const Plan& plan, const float* x, const float* packed, float* y, float* scratch,
                 int64_t begin, int64_t end);

  int64_t (*sums)(const GradPlan& plan);
  int64_t (*grad_scratch)(const GradPlan& plan);
  // Computes units [begin, end) of groups * slices into `sums`.
  void (*grad_units)(const GradPlan& plan, const float* x, const float* grad_y, float* sums,
                     float* scratch, int64_t begin, int64_t end);
  // Adds the groups and transforms blocks [begin, end) of panels() * in_blocks to the gradient of
  // the weight [out, in, 3, 3].
  void (*grad_finish)(const GradPlan& plan, const float* sums, float* grad_weight, int64_t begin,
                      int64_t end);
};

// The kernels for each instruction set; null where this compiler cannot build them.
const Kernels* portable_kernels();
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();

}  // namespace fastgan::cpu::conv3x3
