#include "engine/mapping.h"

#include <algorithm>
#include <cmath>

namespace fastgan::engine {
namespace {

// x / sqrt(mean(x^2) + 1e-8)
void normalize(int count, const float* x, float* to) {
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += double(x[i]) * x[i];
  const double scale = 1 / std::sqrt(sum / std::max(count, 1) + 1e-8);
  for (int i = 0; i < count; ++i) to[i] = static_cast<float>(x[i] * scale);
}

}  // namespace

Mapping::Mapping(const Kernels& kernels, int z_dim, int c_dim)
    : kernels_(kernels), z_dim_(z_dim), c_dim_(c_dim) {}

int Mapping::padded(int columns) const { return vectors(columns, kernels_.lanes) * kernels_.lanes; }

void Mapping::add(int rows, int columns, float slope, const float* weight, const float* bias) {
  const size_t width = padded(columns);
  Dense layer{rows, columns, slope, Buffer<float>(rows * width), Buffer<float>(rows)};
  std::copy(bias, bias + rows, layer.bias.get());
  for (int row = 0; row < rows; ++row) {
    const float* from = weight + size_t(row) * columns;
    std::copy(from, from + columns, layer.matrix.get() + row * width);
  }
  if (c_dim_ > 0 && layers_.empty()) {
    labels_ = Buffer<float>(width * kSamples);
  } else {
    for (Buffer<float>& buffer : features_) {
      if (buffer.size() < width * kSamples) buffer = Buffer<float>(width * kSamples);
    }
  }
  layers_.push_back(std::move(layer));
}

size_t Mapping::bytes() const {
  size_t bytes = 0;
  for (const Dense& layer : layers_) bytes += layer.matrix.bytes() + layer.bias.bytes();
  return bytes;
}

void Mapping::run(Team& team, int samples, const float* z, const float* c, float* w) {
  for (int first = 0; first < samples; first += kSamples) {
    const size_t at = first;
    run_some(team, std::min(samples - first, kSamples), z + at * z_dim_, c + at * c_dim_,
             w + at * w_dim());
  }
}

void Mapping::apply(const Dense& layer, int thread, int threads, int samples, const float* x,
                    float* y, size_t y_step) const {
  const int width = padded(layer.columns);
  const auto share = [&](int i) { return static_cast<int>(int64_t{layer.rows} * i / threads); };
  kernels_.affine({layer.matrix.get(), width, share(thread), share(thread + 1), x, size_t(width),
                   samples, y, y_step},
                  layer.bias.get(), layer.slope);
}

void Mapping::run_some(Team& team, int samples, const float* z, const float* c, float* w) {
  const bool has_labels = c_dim_ > 0;
  const size_t first = has_labels ? 1 : 0, step = padded(layers_[first].columns);
  for (int n = 0; n < samples; ++n) {
    // What lies beyond the columns is multiplied by zeros of the matrix, and must be finite.
    float* const x = features_[0].get() + step * n;
    normalize(z_dim_, z + size_t(n) * z_dim_, x);
    std::fill(x + z_dim_, x + step, 0.0f);
    std::copy(c + size_t(n) * c_dim_, c + size_t(n + 1) * c_dim_,
              has_labels ? labels_.get() + size_t(padded(c_dim_)) * n : nullptr);
  }
  team.run([&](int thread) {
    if (has_labels) {
      float* const embedded = features_[0].get() + z_dim_;
      apply(layers_[0], thread, team.threads(), samples, labels_.get(), embedded, step);
      team.barrier();
      for (int n = thread; n < samples; n += team.threads()) {
        normalize(layers_[0].rows, embedded + step * n, embedded + step * n);
      }
      team.barrier();
    }
    for (size_t l = first; l < layers_.size(); ++l) {
      const bool is_last = l + 1 == layers_.size();
      const size_t y_step = is_last ? layers_[l].rows : padded(layers_[l + 1].columns);
      float* const y = is_last ? w : features_[(l - first + 1) % 2].get();
      apply(layers_[l], thread, team.threads(), samples, features_[(l - first) % 2].get(), y,
            y_step);
      for (int n = 0; thread == 0 && !is_last && n < samples; ++n) {
        std::fill(y + y_step * n + layers_[l].rows, y + y_step * (n + 1), 0.0f);
      }
      team.barrier();
    }
  });
}

}  // namespace fastgan::engine
