// What a 4x4 convolution with stride 2 and padding 1 computes and how it is cut into units: shapes,
// memory layouts and the table of kernels that each instruction set offers. No torch, no loops.
//
// Even and odd rows and columns of the high-resolution image are four phases of its pixels, and
// each phase meets 2 x 2 of the 16 taps, with stride 1. Tiles of tile x tile pixels of a phase are
// transformed (conv4x4_filter.h) to (tile + 1)^2 points, at which a phase is a matrix product over
// channels. Down, the products of all phases are one, 4 C_high deep; up, each phase is a product of
// its own.
#pragma once

#include <cstdint>

namespace fastgan::cpu::conv4x4 {

// Floats between planes of a layout beyond its size, for the same reason as in pixel_plane().
constexpr int64_t kPlanePad = 80;
constexpr int kPhases = 4;
constexpr int64_t kSliceChannels =
    64;  // depth of the products whose weights are transformed at once

struct Plan {
  int lanes;
  int64_t samples, height, width, high;  // the high-resolution images and their channels
  int64_t low_height, low_width, low;    // the low-resolution ones
  int64_t high_blocks, low_blocks;       // channels in vectors, rounded up
  int tile;                              // 2 or 4
  int64_t tiles_y, tiles_x, tiles;
  int64_t chunk;  // tiles that are at points at a time
  int64_t group;  // of them, tiles that a unit multiplies
  int vectors;    // of output channels that a unit computes

  int points() const { return (tile + 1) * (tile + 1); }
  // Floats from one point to the next of transformed pixels: an odd number of lines, because planes
  // a power of two apart would fall into the same sets of the caches; of a block; of all blocks.
  int64_t pixel_plane() const { return (group | 1) * lanes; }
  int64_t pixel_block() const { return points() * pixel_plane(); }
  int64_t pixels(int64_t blocks) const { return groups() * blocks * pixel_block(); }
  // Floats from one point to the next: of transformed weights [kSliceChannels][vectors][lanes],
  int64_t weight_plane() const { return kSliceChannels * vectors * lanes + kPlanePad; }
  // of products [group][vectors][lanes],
  int64_t product_plane() const { return group * vectors * lanes + kPlanePad; }
  // and of the sums of a weight gradient [phases][lanes][vectors][lanes].
  int64_t sum_plane() const { return int64_t{kPhases} * lanes * vectors * lanes + kPlanePad; }
  int64_t groups() const { return (chunk + group - 1) / group; }
};

inline int64_t panels(int64_t blocks, int vectors) { return (blocks + vectors - 1) / vectors; }

// Tiles [first, first + count) are at points; `begin` and `end` count from `first`.
struct Kernels {
  int lanes;
  // x -> points. v: [groups][blocks][phases][points][group][lanes] of the high image;
  void (*high_points)(const Plan& plan, const float* x, float* v, int64_t first, int64_t begin,
                      int64_t end);
  // [groups][blocks][points][group][lanes] of the low image as output phase `phase` sees it;
  void (*low_points)(const Plan& plan, int phase, const float* y, float* v, int64_t first,
                     int64_t begin, int64_t end);
  // the same of its tiles, by the adjoint of the way out.
  void (*grad_points)(const Plan& plan, const float* y, float* d, int64_t first, int64_t begin,
                      int64_t end);
  // Units [begin, end) of panels x groups: products and the way out.
  void (*down_units)(const Plan& plan, const float* v, const float* weight, float* y,
                     float* scratch, int64_t first, int64_t count, int64_t begin, int64_t end);
  void (*up_units)(const Plan& plan, int phase, const float* v, const float* weight, float* x,
                   float* scratch, int64_t first, int64_t count, int64_t begin, int64_t end);
  // A unit of high_blocks x panels: adds `count` tiles to its sums, or begins them; they are
  // points() * sum_plane() floats.
  void (*grad_unit)(const Plan& plan, const float* v, const float* d, float* sums, int64_t unit,
                    int64_t count, bool add);
  void (*grad_finish)(const Plan& plan, const float* sums, float* grad_weight, int64_t unit);
};

// The kernels for each instruction set; null where this compiler cannot build them.
const Kernels* portable_kernels();
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();

}  // namespace fastgan::cpu::conv4x4
