// The mapping network, z and c -> w: fully connected layers with leaky ReLU. No torch in here.
#pragma once

#include <vector>

#include "engine/arena.h"
#include "engine/kernels.h"
#include "engine/team.h"

namespace fastgan::engine {

class Mapping {
 public:
  // `c_dim` 0: no labels, and no embedding of them.
  Mapping(const Kernels& kernels, int z_dim, int c_dim);

  // act(weight x + bias), weight [rows][columns], act's gain in both. With labels the first one
  // embeds them and has no activation.
  void add(int rows, int columns, float slope, const float* weight, const float* bias);

  int z_dim() const { return z_dim_; }
  int c_dim() const { return c_dim_; }
  int w_dim() const { return layers_.back().rows; }
  size_t bytes() const;

  // z [samples][z_dim], c [samples][c_dim] -> w [samples][w_dim].
  void run(Team& team, int samples, const float* z, const float* c, float* w);

 private:
  struct Dense {
    int rows, columns;
    float slope;
    Buffer<float> matrix, bias;  // [rows][columns in whole vectors]
  };

  static constexpr int kSamples = 8;  // that pass through the layers at a time

  int padded(int columns) const;
  void run_some(Team& team, int samples, const float* z, const float* c, float* w);
  void apply(const Dense& layer, int thread, int threads, int samples, const float* x, float* y,
             size_t y_step) const;

  const Kernels& kernels_;
  const int z_dim_, c_dim_;
  std::vector<Dense> layers_;
  Buffer<float> labels_, features_[2];  // [sample][columns in whole vectors]
};

}  // namespace fastgan::engine
