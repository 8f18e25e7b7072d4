// Which algorithm serves a layer best, from its shape. No torch in here.
#pragma once

#include <string>
#include <vector>

#include "engine/layer.h"

namespace fastgan::engine {

// The rule that holds where nothing was measured. It follows the time that memory and products
// take, with bounds at which measurements of both kinds of layers crossed (fastgan tune).
// `samples`: images that most calls render.
Choice default_choice(const LayerShape& shape, int lanes, int threads, int samples);

// Everything worth measuring for a layer.
std::vector<Choice> candidates(const LayerShape& shape, int lanes, int threads);

// Whether a layer can be computed so.
bool is_valid(const Choice& choice, const LayerShape& shape, int lanes);

// For people: algorithm and choice.
std::string describe(const LayerShape& shape, const Choice& choice);

}  // namespace fastgan::engine
