#include "engine/choice.h"

#include <unistd.h>

#include <algorithm>

namespace fastgan::engine {
namespace {

constexpr int kPanelTiles = 16;  // rows of a product of one column, at most
// Up to here a product is so short that starting it counts, and many tiles are transformed at once.
constexpr int kFewChannels = 32;

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

// Whether weights stay in a core's second-level cache from one batch of tiles to the next.
bool is_near(const LayerShape& shape, int tile) {
  return weight_bytes(shape, tile) <= cache_bytes() / 2;
}

// Products of all images for a pair of channels.
double products_of(const LayerShape& shape, int tile, int samples) {
  const double of_tile = shape.up ? (2.0 * tile + 1) * (2 * tile + 1) : points_of(shape, tile);
  return of_tile * tiles_of(shape, tile) * samples;
}

// Larger tiles take fewer products, but more weights. These come from memory once for all images,
// which takes as long as so many products for each of them.
int default_tile(const LayerShape& shape, int samples) {
  const double products_per_weight = 18;
  int best = 1;
  double least = 0;
  for (int tile : {1, 2, 4}) {
    const double time =
        std::max(points_of(shape, tile) * products_per_weight, products_of(shape, tile, samples));
    if (tile == 1 || time < least) best = tile, least = time;
  }
  return best;
}

// Rows where the weights stay in each core's cache, or where there are so many pixels that reading
// the weights again costs less than reading what another core has transformed. Else each core takes
// a part of the weights, and transforms all of the input unless that is much work: lines that
// another core has just written come as slowly as weights from memory.
Split default_split(const LayerShape& shape, int tile, int lanes, int threads, int samples) {
  const int side = std::min(shape.height, shape.width);
  const double bytes = weight_bytes(shape, tile);
  const bool many_rows = tiles_along(shape.height, tile) >= 2 * threads;
  // By rows, upsampling reads all weights for each row of tiles: too often where there are few.
  if (threads == 1) return shape.up && side <= 32 ? Split::kChannels : Split::kRows;
  if (vectors(shape.out_channels, lanes) < threads) return Split::kRows;
  if (side <= 16) {
    const double transformed = products_of(shape, tile, samples) * shape.in_channels;
    return transformed * threads <= (5 << 17) ? Split::kChannels : Split::kTeam;
  }
  if (many_rows && (bytes <= 2.5 * cache_bytes() || side >= 64)) return Split::kRows;
  return bytes >= 8 * cache_bytes() ? Split::kTeam : Split::kChannels;
}

// Whether large weights are read for each of several batches: one core's, for too few rows.
bool is_read_often(const LayerShape& shape, const Choice& choice) {
  return choice.split == Split::kRows && std::min(shape.height, shape.width) <= 32 &&
         tiles_of(shape, choice.tile) > kPanelTiles &&
         weight_bytes(shape, choice.tile) >= 8 * cache_bytes();
}

// Vectors of output channels. The more, the fewer loads a product takes; but of weights that come
// from far away, two vectors a row leave time to ask for them.
int default_columns(const LayerShape& shape, const Choice& choice, int out_vectors, int threads) {
  const int share = choice.split == Split::kRows ? out_vectors : out_vectors / threads;
  const int most = is_near(shape, choice.tile) && !(shape.up && choice.tile == 4) ? 4 : 2;
  int columns = std::min(most, std::max(share, 1));
  while (out_vectors % columns != 0) --columns;
  return columns;
}

// Tiles of a batch: as many as one product takes; transforms of few channels then stay in the
// first-level cache. Where tiles go in and out in turn (conv_layer.h) they are at hand anyway, and
// more tiles cost less, up to half a row: the first batch of a row finds none to take turns with.
int default_batch(const LayerShape& shape, const Choice& choice, int threads, int samples) {
  const int tiles = tiles_of(shape, choice.tile) * (choice.split == Split::kRows ? 1 : samples);
  if (choice.split == Split::kTeam && shape.up) {
    return tiles <= 2 * kPanelTiles ? tiles : kPanelTiles;
  }
  if (choice.split == Split::kTeam) return std::min(64, tiles);
  if (is_read_often(shape, choice) && !shape.up) return std::min(32, tiles);
  if (choice.split == Split::kRows && !shape.up && !is_near(shape, choice.tile)) {
    return std::max(std::min(64, tiles / threads), std::min(kPanelTiles, tiles));
  }
  int batch = kPanelTiles;
  if (is_near(shape, choice.tile) && !shape.up) {
    const int row = tiles_along(shape.width, choice.tile);
    const int in_turn = std::max(kPanelTiles, std::min(64, row / 2));
    const int rest = choice.columns == 1 && shape.in_channels <= kFewChannels ? in_turn
                     : choice.columns > 2                                     ? 32
                                                                              : 14;
    batch = tiles_along(row, tiles_along(row, rest));  // a row of tiles in equal parts
  } else if (is_near(shape, choice.tile) && choice.tile == 4) {
    batch = shape.in_channels > kFewChannels ? 12 : choice.columns == 1 ? kPanelTiles : 32;
  }
  return std::min(batch, tiles);
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

Choice default_choice(const LayerShape& shape, int lanes, int threads, int samples) {
  Choice choice;
  choice.tile = default_tile(shape, samples);
  choice.split = default_split(shape, choice.tile, lanes, threads, samples);
  choice.columns = default_columns(shape, choice, vectors(shape.out_channels, lanes), threads);
  choice.batch = default_batch(shape, choice, threads, samples);
  return choice;
}

std::vector<Choice> candidates(const LayerShape& shape, int lanes, int threads) {
  std::vector<Choice> found;
  const int side = std::min(shape.height, shape.width);
  for (int tile : {1, 2, 4}) {
    if ((tile == 1 && side > 16) || (tile > 1 && side <= tile)) continue;
    const int tiles = tiles_along(shape.height, tile) * tiles_along(shape.width, tile);
    for (int columns = 1; columns <= 4; ++columns) {
      for (int batch : {8, 12, 14, 16, 24, 28, 32, 42, 48, 64, 96, 128}) {
        if (batch > tiles && batch > 16) continue;
        for (Split split : {Split::kRows, Split::kTeam, Split::kChannels}) {
          const bool alone = split == Split::kRows || (split == Split::kChannels && shape.up);
          if (threads == 1 && !alone) continue;
          const Choice choice{tile, split, batch, columns};
          if (is_valid(choice, shape, lanes)) found.push_back(choice);
        }
      }
    }
  }
  return found;
}

}  // namespace fastgan::engine
