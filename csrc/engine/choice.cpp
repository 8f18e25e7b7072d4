#include "engine/choice.h"

#include <unistd.h>

#include <algorithm>

namespace fastgan::engine {
namespace {

constexpr int kSmallBatch = 16;            // tiles
constexpr double kFewTransformed = 12800;  // points times channels

double cache_bytes() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  static const long found = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (found > 0) return static_cast<double>(found);
#endif
  return 1 << 20;
}

int tiles_along(int size, int tile) { return (size + tile - 1) / tile; }

int tiles_of(const LayerShape& shape, int tile) {
  return tiles_along(shape.height, tile) * tiles_along(shape.width, tile);
}

// Matrices of weights after their transform.
double points_of(const LayerShape& shape, int tile) {
  const double side = tile + (shape.up ? 1 : 2);
  return shape.up ? side * side + 2 * side + 1 : tile == 1 ? 9 : side * side;
}

double weight_bytes(const LayerShape& shape, int tile) {
  return points_of(shape, tile) * shape.in_channels * shape.out_channels * 4;
}

// Larger tiles take fewer products, but more weights, which small images are bound by; upsampling
// goes on with the smaller ones while their weights are few.
int default_tile(const LayerShape& shape) {
  const int side = std::min(shape.height, shape.width);
  if (side <= 8) return side <= 4 ? 1 : 2;
  const double few = cache_bytes() * (side <= 16 ? 2 : 0.5);
  return shape.up && side <= 64 && weight_bytes(shape, 2) <= few ? 2 : 4;
}

// Images so small that a core reads a weight for one batch of tiles or a few.
bool is_small(const LayerShape& shape) { return std::min(shape.height, shape.width) <= 16; }

// Rows where the weights stay in each core's cache, or where there are so many pixels that reading
// the weights again costs less than reading what another core has transformed. Else each core takes
// a part of the weights, and transforms all of the input unless that has many pixels or points:
// lines that another core has just written come as slowly as weights from memory.
Split default_split(const LayerShape& shape, int tile, int lanes, int threads) {
  const int side = std::min(shape.height, shape.width);
  const double bytes = weight_bytes(shape, tile);
  const bool many_rows = tiles_along(shape.height, tile) >= 2 * threads;
  if (threads == 1 || vectors(shape.out_channels, lanes) < threads) return Split::kRows;
  if (is_small(shape)) {
    const double transformed = points_of(shape, tile) * shape.in_channels;
    return transformed <= kFewTransformed ? Split::kChannels : Split::kTeam;
  }
  if (many_rows && (bytes <= 1.25 * cache_bytes() || side >= 64)) return Split::kRows;
  return bytes >= 8 * cache_bytes() ? Split::kTeam : Split::kChannels;
}

// Vectors of output channels: 4 take the fewest loads for a product. Where weights are read for few
// tiles, those of a point should stay in the first-level cache from one panel of rows to the next.
int default_columns(const LayerShape& shape, const Choice& choice, int out_vectors, int threads) {
  const int share = choice.split == Split::kRows ? out_vectors : out_vectors / threads;
  int most = 4;
  if (choice.tile == 4 && shape.up && choice.split == Split::kRows) most = 2;
  if (choice.split == Split::kTeam && !is_small(shape)) most = 2;
  if (choice.split == Split::kChannels && is_small(shape)) {
    most = tiles_of(shape, choice.tile) > kSmallBatch ? 2 : 1;
  }
  int columns = std::min(most, std::max(share, 1));
  while (out_vectors % columns != 0) --columns;
  return columns;
}

// Tiles whose transforms stay in the second-level cache beside the weights of some points.
int default_batch(const LayerShape& shape, const Choice& choice) {
  const bool by_rows = choice.split == Split::kRows;
  int batch = choice.split == Split::kTeam ? 64 : 32;
  if (by_rows && ((shape.up && choice.tile == 4) || std::min(shape.height, shape.width) <= 32)) {
    batch = kSmallBatch;
  }
  if (choice.split == Split::kChannels && is_small(shape)) batch = kSmallBatch;
  return std::min(batch, tiles_of(shape, choice.tile));
}

}  // namespace

std::string describe(const LayerShape& shape, const Choice& choice) {
  const std::string tile = std::to_string(choice.tile);
  std::string name = choice.tile == 1 ? "direct" : "F(" + tile + "x" + tile + ",3x3)";
  if (shape.up) name = choice.tile == 1 ? "up direct" : "up F(" + tile + "x" + tile + ")";
  return name + " " + kSplits[static_cast<int>(choice.split)] + ", batch " +
         std::to_string(choice.batch) + ", columns " + std::to_string(choice.columns);
}

bool is_valid(const Choice& choice, const LayerShape& shape, int lanes) {
  const bool tile = choice.tile == 1 || choice.tile == 2 || choice.tile == 4;
  const bool columns = choice.columns >= 1 && choice.columns <= 4 &&
                       vectors(shape.out_channels, lanes) % choice.columns == 0;
  return tile && columns && choice.batch >= 1 && choice.batch <= 4096;
}

Choice default_choice(const LayerShape& shape, int lanes, int threads) {
  Choice choice;
  choice.tile = default_tile(shape);
  choice.split = default_split(shape, choice.tile, lanes, threads);
  choice.columns =
      default_columns(shape, choice, vectors(shape.out_channels, lanes), threads);
  choice.batch = default_batch(shape, choice);
  return choice;
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
