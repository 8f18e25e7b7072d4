// What the engine knows of the features -> image layers without knowing the instruction set.
// No torch in here.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastgan::engine {

struct ImageShape {
  int in_channels, channels;  // of the features, of the image (1 to 4)
  int height, width;
  float clamp;         // of the level's own image, below 0: none
  float filter_ratio;  // of the upsampling filter (1, r, r, 1)
};

// One row of one image. Steps are in floats.
struct ImageRow {
  const float* features;    // the row in channel block 0
  size_t plane;             // from block to block
  float* around;            // where the features go, around the caches; null: nowhere
  size_t around_plane;      // from block to block there
  const float* modulated;   // ToImage::modulate
  const float *near, *far;  // the two nearest rows of the level below between zeros, null: none
  size_t below_step;        // from channel to channel there
  float* line;              // [channel][width], null: bytes instead
  size_t line_step;
  uint8_t* bytes;  // [width][channel], of the last level
};

class ToImage {
 public:
  virtual ~ToImage() = default;
  virtual size_t weight_bytes() const = 0;
  virtual size_t modulated_floats() const = 0;
  // The weight scaled by the styles of a sample.
  virtual void modulate(const float* styles, float* modulated) const = 0;
  virtual void row(const ImageRow& row) const = 0;
};

}  // namespace fastgan::engine
