#include "engine/network.h"

#include <unistd.h>

#include <algorithm>
#include <stdexcept>

namespace fastgan::engine {
Network::Network(const Settings& settings, cpu::Isa isa)
    : settings_(settings), kernels_(kernels_of(isa)) {}

Network::~Network() {
  if (team_ && team_process_ != getpid()) team_.release();  // its threads are the parent's
}

size_t Network::padded(int channels) const {
  return static_cast<size_t>(vectors(channels, lanes())) * lanes();
}

int Network::out_height() const { return images_.back().shape.height; }
int Network::out_width() const { return images_.back().shape.width; }

void Network::set_const(const float* values, int channels) {
  const int height = settings_.height, width = settings_.width, border = 5;
  const_view_.row = size_t(width + border) * lanes();
  const_view_.plane = const_view_.row * (height + border);
  const_ = Buffer<float>(const_view_.plane * vectors(channels, lanes()));
  const_view_.data = const_.get() + const_view_.row + lanes();
  for (int c = 0; c < channels; ++c) {
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const_view_.at(0, c / lanes(), y)[x * lanes() + c % lanes()] =
            values[(size_t(c) * height + y) * width + x];
      }
    }
  }
}

void Network::set_affine(Affine& affine, int rows, const float* matrix, const float* bias) {
  const size_t width = padded(settings_.w_dim);
  affine.rows = rows;
  affine.matrix = Buffer<float>(rows * width);
  affine.bias = Buffer<float>(rows);
  std::copy(bias, bias + rows, affine.bias.get());
  for (int row = 0; row < rows; ++row) {
    const float* from = matrix + size_t(row) * settings_.w_dim;
    std::copy(from, from + settings_.w_dim, affine.matrix.get() + row * width);
  }
}

void Network::add_conv(const LayerShape& shape, const Choice* choice, int threads, int w_index,
                       const float* weight, const float* bias, const float* affine,
                       const float* affine_bias, const float* noise, float noise_strength) {
  ConvStage stage;
  stage.name = (shape.up ? "up " : "conv ") + std::to_string(shape.in_channels) + "->" +
               std::to_string(shape.out_channels) + " @" + std::to_string(shape.out_height()) +
               "x" + std::to_string(shape.out_width());
  stage.shape = shape;
  stage.choice =
      choice != nullptr ? *choice : default_choice(shape, lanes(), threads, settings_.samples);
  if (!is_valid(stage.choice, shape, lanes())) {
    throw std::invalid_argument(stage.name + ": cannot be computed as " +
                                describe(shape, stage.choice));
  }
  stage.w_index = w_index;
  const float gain = settings_.gain, ratio = settings_.activation.filter_ratio;
  // Both axes of the filter have gain 2: taps 2 (1, r, r, 1) / (2 + 2 r).
  stage.gain = shape.up ? gain / ((1 + ratio) * (1 + ratio)) : gain;
  std::vector<float> scaled_bias(bias, bias + shape.out_channels);
  for (float& value : scaled_bias) value *= gain;
  stage.layer = kernels_.make_layer(shape, stage.choice, settings_.activation,
                                    settings_.half_weights, weight, scaled_bias.data());
  set_affine(stage.affine, shape.in_channels, affine, affine_bias);
  const size_t width = padded(shape.in_channels);
  stage.energy = Buffer<float>(shape.out_channels * width);
  for (int o = 0; o < shape.out_channels; ++o) {
    for (int i = 0; i < shape.in_channels; ++i) {
      const float* taps = weight + (size_t(o) * shape.in_channels + i) * 9;
      double sum = 0;
      for (int k = 0; k < 9; ++k) sum += double(taps[k]) * taps[k];
      stage.energy[o * width + i] = static_cast<float>(sum);
    }
  }
  const size_t pixels = size_t(shape.out_height()) * shape.out_width();
  stage.noise = Buffer<float>(pixels);
  stage.noise_scale = noise_strength * gain;
  for (size_t i = 0; noise != nullptr && i < pixels; ++i) {
    stage.noise[i] = noise[i] * stage.noise_scale;
  }
  convs_.push_back(std::move(stage));
}

void Network::add_image(int in_channels, int w_index, float clamp, const float* weight,
                        const float* bias, const float* affine, const float* affine_bias) {
  ImageStage stage;
  const LayerShape& conv = convs_.back().shape;
  stage.shape = {in_channels,
                 settings_.channels,
                 conv.out_height(),
                 conv.out_width(),
                 clamp,
                 settings_.activation.filter_ratio};
  stage.layer = kernels_.make_to_image(stage.shape, weight, bias);
  stage.w_index = w_index;
  set_affine(stage.affine, in_channels, affine, affine_bias);
  images_.push_back(std::move(stage));
}

}  // namespace fastgan::engine
