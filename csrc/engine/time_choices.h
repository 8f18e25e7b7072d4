// Measures ways to compute a layer. No torch in here.
#pragma once

#include <vector>

#include "engine/kernels.h"
#include "engine/layer.h"

namespace fastgan::engine {

// Seconds of the fastest of `rounds` calls of each of some ways to compute a layer, taken in turn.
std::vector<double> time_choices(const Kernels& kernels, const LayerShape& shape,
                                 const std::vector<Choice>& choices, bool half, int threads,
                                 int rounds);

}  // namespace fastgan::engine
