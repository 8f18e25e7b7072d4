#include "engine/choice.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>

namespace fastgan::engine {
namespace {

// What a core does in a cycle, roughly: only the order of the estimates matters.
constexpr double kMissBytes = 4;       // bytes from beyond its second-level cache
constexpr double kBarrier = 6000;      // cycles
constexpr double kInputVector = 2.0;   // cycles for a vector of transformed input
constexpr double kOutputVector = 1.5;  // cycles for a vector of products
constexpr double kFilterVector = 6.0;  // cycles for a vector that comes out of the ring

double cache_bytes() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  static const long found = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (found > 0) return static_cast<double>(found);
#endif
  return 1 << 20;
}

int tiles_along(int size, int tile) { return (size + tile - 1) / tile; }

// Rows of V and M that a tile takes, over all points; points, each with weights of its own.
double rows_per_tile(const LayerShape& shape, int tile) {
  const double side = tile + (shape.up ? 1 : 2), odd = tile;
  if (!shape.up) return tile == 1 ? 9 : side * side;
  return side * side + 2 * side * odd + odd * odd;
}
double points(const LayerShape& shape, int tile) {
  const double side = tile + (shape.up ? 1 : 2);
  if (!shape.up) return tile == 1 ? 9 : side * side;
  return side * side + 2 * side + 1;
}

// Cycles of the slowest thread.
double estimate(const LayerShape& shape, const Choice& choice, int lanes, int threads) {
  const double in = vectors(shape.in_channels, lanes), out = vectors(shape.out_channels, lanes);
  const int along = tiles_along(shape.height, choice.tile);
  const double tiles = double(along) * tiles_along(shape.width, choice.tile);
  const double rows = rows_per_tile(shape, choice.tile), vector = 4.0 * lanes;
  // Shares of the slowest thread.
  const bool by_rows = choice.split == Split::kRows, team = choice.split == Split::kTeam;
  const int blocks = static_cast<int>(out) / choice.columns;
  const double of_rows = by_rows ? std::ceil(double(along) / threads) / along : 1.0;
  const double of_out = by_rows ? 1.0 : std::ceil(double(blocks) / threads) / blocks;
  const double of_in = by_rows ? of_rows : team ? 1.0 / threads : 1.0;
  const double batch = std::min<double>(choice.batch, tiles * of_rows);
  const double passes = std::ceil(tiles * of_rows / batch);
  // Arithmetic: two vector multiply-adds a cycle, some loss where sums are short.
  const double products = tiles * of_rows * rows * in * lanes * out * of_out;
  const double narrow = choice.columns == 1 ? 1.08 : 1.0;
  const double compute = products / 2 * narrow * (1 + 3.0 / (in * lanes));
  // Memory: what does not stay in the cache is read again in every pass.
  const double u = points(shape, choice.tile) * in * lanes * out * of_out * vector;
  const double v = batch * rows * in * vector, m = batch * rows * choice.columns * vector;
  const double ring_rows = shape.up ? 2 * choice.tile + 5 : 0;
  const double ring = ring_rows * 2 * shape.width * out * of_out * vector;
  const double used = u + v + m + ring;
  const double excess = std::min(1.0, std::max(0.0, used / (0.8 * cache_bytes()) - 1));
  double missed = u + excess * (passes - 1) * u + excess * passes * (v + ring / along);
  if (team) missed += passes * v * (threads - 1) / threads;
  const double moved = missed / kMissBytes;
  const double transforms =
      tiles * rows * (in * of_in * kInputVector + out * of_rows * of_out * kOutputVector);
  const double filter =
      shape.up ? 4.0 * shape.height * shape.width * out * of_rows * of_out * kFilterVector : 0.0;
  const double barriers = (team ? passes : 0) * kBarrier;
  return std::max(compute, moved) + 0.3 * std::min(compute, moved) + transforms + filter + barriers;
}

}  // namespace

bool is_valid(const Choice& choice, const LayerShape& shape, int lanes) {
  const bool tile = choice.tile == 1 || choice.tile == 2 || choice.tile == 4;
  const bool columns = choice.columns >= 1 && choice.columns <= 4 &&
                       vectors(shape.out_channels, lanes) % choice.columns == 0;
  return tile && columns && choice.batch >= 1 && choice.batch <= 4096;
}

Choice default_choice(const LayerShape& shape, int lanes, int threads) {
  const std::vector<Choice> found = candidates(shape, lanes, threads);
  return *std::min_element(found.begin(), found.end(), [&](const Choice& a, const Choice& b) {
    return estimate(shape, a, lanes, threads) < estimate(shape, b, lanes, threads);
  });
}

std::vector<Choice> candidates(const LayerShape& shape, int lanes, int threads) {
  std::vector<Choice> found;
  const int side = std::min(shape.height, shape.width);
  for (int tile : {1, 2, 4}) {
    if ((tile == 1 && side > 16) || (tile > 1 && side <= tile)) continue;
    const int tiles = tiles_along(shape.height, tile) * tiles_along(shape.width, tile);
    for (int columns = 1; columns <= 4; ++columns) {
      for (int batch : {8, 12, 16, 24, 28, 32, 42, 48, 64, 96, 128}) {
        if (batch > tiles && batch > 16) continue;
        for (Split split : {Split::kRows, Split::kTeam, Split::kChannels}) {
          if (split != Split::kRows && threads == 1) continue;
          const Choice choice{tile, split, batch, columns};
          if (is_valid(choice, shape, lanes)) found.push_back(choice);
        }
      }
    }
  }
  return found;
}

}  // namespace fastgan::engine
