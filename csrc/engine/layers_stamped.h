// Everything of the engine that is compiled once for each instruction set. The files that include
// this one define which.
#include <chrono>
#include <limits>
#include <memory>

#include "common/dtype.h"
#include "engine/arena.h"
#include "engine/clock.h"
#include "engine/image.h"
#include "engine/kernels.h"
#include "engine/layer.h"
#include "engine/team.h"
//
#include "cpu/stamp_begin.h"

#if defined(FASTGAN_STAMP_ACTIVE)
#include "engine/conv_layer.h"
#include "engine/styles.h"
#include "engine/to_rgb.h"
#include "engine/up_layer.h"

namespace fastgan::engine::FASTGAN_STAMPED {

template <typename W>
std::unique_ptr<Layer> make_layer_of(const LayerShape& shape, const Choice& choice,
                                     const Activation& activation, const float* weight,
                                     const float* bias) {
  Layer* layer = nullptr;
  if (shape.up) {
    if (choice.tile == 4) {
      layer = new UpLayer<Up4, W>(shape, choice, activation, weight, bias);
    } else if (choice.tile == 2) {
      layer = new UpLayer<Up2, W>(shape, choice, activation, weight, bias);
    } else {
      layer = new UpLayer<Up1, W>(shape, choice, activation, weight, bias);
    }
  } else if (choice.tile == 4) {
    layer = new ConvLayer<Conv4, W>(shape, choice, activation, weight, bias);
  } else if (choice.tile == 2) {
    layer = new ConvLayer<Conv2, W>(shape, choice, activation, weight, bias);
  } else {
    layer = new ConvLayer<Conv1, W>(shape, choice, activation, weight, bias);
  }
  return std::unique_ptr<Layer>(layer);
}

std::unique_ptr<Layer> make_layer(const LayerShape& shape, const Choice& choice,
                                  const Activation& activation, bool half, const float* weight,
                                  const float* bias) {
  return half ? make_layer_of<uint16_t>(shape, choice, activation, weight, bias)
              : make_layer_of<float>(shape, choice, activation, weight, bias);
}

std::unique_ptr<ToImage> make_to_image(const ImageShape& shape, const float* weight,
                                       const float* bias) {
  return std::unique_ptr<ToImage>(new ToRgb(shape, weight, bias));
}

extern const Kernels kKernels;
const Kernels kKernels = {kLanes, &make_layer, &make_to_image, &affine, &demodulate};

}  // namespace fastgan::engine::FASTGAN_STAMPED
#endif

#include "cpu/stamp_end.h"
