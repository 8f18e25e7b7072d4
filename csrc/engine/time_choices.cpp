#include "engine/time_choices.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>

#include "engine/arena.h"
#include "engine/row_queue.h"
#include "engine/team.h"

namespace fastgan::engine {

std::vector<double> time_choices(const Kernels& kernels, const LayerShape& shape,
                                 const std::vector<Choice>& choices, bool half, int threads,
                                 int rounds) {
  const int lanes = kernels.lanes;
  std::mt19937 random(0);
  std::normal_distribution<float> normal;
  std::vector<float> weight(size_t(shape.in_channels) * shape.out_channels * 9),
      bias(shape.out_channels);
  for (float& value : weight) value = normal(random);
  std::vector<std::unique_ptr<Layer>> layers;
  size_t scratch_size = 0;
  for (const Choice& choice : choices) {
    layers.push_back(
        kernels.make_layer(shape, choice, Activation{}, half, weight.data(), bias.data()));
    scratch_size = std::max(scratch_size, layers.back()->scratch_floats(threads));
  }
  const int border = 5;
  auto view = [&](int h, int w) {
    View v;
    v.row = size_t(w + border) * lanes, v.plane = v.row * (h + border);
    return v;
  };
  View in = view(shape.height, shape.width), out = view(shape.out_height(), shape.out_width());
  Buffer<float> x(in.plane * vectors(shape.in_channels, lanes)),
      y(out.plane * vectors(shape.out_channels, lanes));
  Buffer<float> scratch(scratch_size), noise(size_t(shape.out_height()) * shape.out_width());
  Buffer<float> styles(size_t(vectors(shape.in_channels, lanes)) * lanes),
      scales(size_t(vectors(shape.out_channels, lanes)) * lanes);
  for (size_t i = 0; i < styles.size(); ++i) styles[i] = 1;
  for (size_t i = 0; i < scales.size(); ++i) scales[i] = 0.1f;
  in.data = x.get() + in.row + lanes, out.data = y.get() + out.row + lanes;
  for (size_t i = 0; i < x.size(); ++i) x[i] = normal(random);
  Team team(threads);
  RowQueue queue(threads);
  std::vector<double> best(choices.size(), 1e30);
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < layers.size(); ++i) {
      const auto start = std::chrono::steady_clock::now();
      team.run([&](int thread) {
        Call call{};
        call.thread = thread, call.threads = threads, call.team = &team, call.queue = &queue,
        call.samples = 1;
        call.in = in, call.out = out, call.styles = styles.get(), call.scales = scales.get();
        call.noise = noise.get(), call.scratch = scratch.get();
        layers[i]->run(call);
      });
      const double seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      best[i] = std::min(best[i], seconds);
    }
  }
  return best;
}

}  // namespace fastgan::engine
