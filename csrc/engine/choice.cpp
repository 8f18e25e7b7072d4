#include "engine/choice.h"

namespace fastgan::engine {
namespace {

// The most columns of at most `most` into which the output's vectors divide.
int divide(int out_vectors, int most) {
  int columns = most;
  while (out_vectors % columns != 0) --columns;
  return columns;
}

int tiles_along(int size, int tile) { return (size + tile - 1) / tile; }

}  // namespace

bool is_valid(const Choice& choice, const LayerShape& shape, int lanes) {
  const bool tile = choice.tile == 1 || choice.tile == 2 || choice.tile == 4;
  const bool columns = choice.columns >= 1 && choice.columns <= 4 &&
                       vectors(shape.out_channels, lanes) % choice.columns == 0;
  return tile && columns && choice.batch >= 1 && choice.batch <= 4096;
}

// Small images have more weights than pixels: all threads share a batch of tiles and each reads the
// weights of its own output channels, once. Large ones have more pixels than weights: each thread
// keeps rows of its own in its cache. Larger tiles take fewer products and more memory for weights.
Choice default_choice(const LayerShape& shape, int lanes, int threads) {
  const int out_vectors = vectors(shape.out_channels, lanes);
  const int side = shape.height < shape.width ? shape.height : shape.width;
  Choice choice;
  choice.tile = side <= 4 ? 1 : side <= 16 ? 2 : 4;
  const int64_t pixels = int64_t{shape.height} * shape.width;
  const bool few_pixels = pixels * 16 <= int64_t{shape.in_channels} * shape.out_channels;
  choice.solo = threads == 1 || out_vectors < threads || !(few_pixels || side < 64);
  const int rows_of_tiles = tiles_along(shape.height, choice.tile);
  if (rows_of_tiles < threads && out_vectors >= threads) choice.solo = false;
  const int share = choice.solo ? out_vectors : out_vectors / threads;
  const int wide = !choice.solo && side >= 32 ? 4 : 2;
  choice.columns = divide(out_vectors, share >= wide ? wide : share > 1 ? 2 : 1);
  if (!choice.solo && out_vectors / choice.columns < threads) choice.columns = 1;
  choice.batch = !choice.solo ? 64 : shape.up ? 16 : 32;
  const int tiles = rows_of_tiles * tiles_along(shape.width, choice.tile);
  if (choice.batch > tiles) choice.batch = tiles;
  return choice;
}

std::vector<Choice> candidates(const LayerShape& shape, int lanes, int threads) {
  std::vector<Choice> found;
  const int side = shape.height < shape.width ? shape.height : shape.width;
  for (int tile : {1, 2, 4}) {
    if ((tile == 1 && side > 16) || (tile > 1 && side <= tile)) continue;
    for (int columns = 1; columns <= 4; ++columns) {
      for (int batch : {12, 14, 16, 24, 28, 32, 42, 48, 64, 96, 128}) {
        if (batch > tiles_along(shape.height, tile) * tiles_along(shape.width, tile) && batch > 12)
          continue;
        for (int solo = 0; solo < 2; ++solo) {
          if (solo == 0 && (threads == 1 || batch < 24)) continue;
          const Choice choice{tile, solo == 1, batch, columns};
          if (is_valid(choice, shape, lanes)) found.push_back(choice);
        }
      }
    }
  }
  return found;
}

}  // namespace fastgan::engine
