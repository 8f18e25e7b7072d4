// What a network keeps in memory: images between layers, scratch, and how much of each.
#include <unistd.h>

#include <algorithm>

#include "engine/network.h"

namespace fastgan::engine {

// Whether an upsampling convolution and the next one run row by row.
bool Network::is_pair(size_t up) const {
  if (up % 2 == 0 || up + 1 >= convs_.size()) return false;
  const ConvStage &first = convs_[up], &second = convs_[up + 1];
  const size_t pixels = size_t(first.shape.out_height()) * first.shape.out_width();
  const size_t bytes = padded(first.shape.out_channels) * pixels * samples_ * sizeof(float);
  return bytes > settings_.pair_bytes && first.choice.split == Split::kRows &&
         second.choice.split == Split::kRows && RowPair::fits(*first.layer, *second.layer);
}

// The memory of the images between layers: each reads one of two buffers and writes the other.
void Network::share_buffers() {
  size_t floats[2] = {0, 0};
  std::vector<int> buffer(convs_.size(), -1);
  for (size_t l = 0, next = 0; l < convs_.size(); ++l) {
    const bool is_last = l + 1 == convs_.size();
    if (pairs_[l] || (is_last && convs_[l].choice.split == Split::kRows)) continue;
    floats[next] = std::max(floats[next], views_[l].image * samples_ + lanes());
    buffer[l] = static_cast<int>(next), next = 1 - next;
  }
  for (int i = 0; i < 2; ++i) {
    activations_[i] = Buffer<float>(), activations_[i] = Buffer<float>(floats[i]);
  }
  for (size_t l = 0; l < convs_.size(); ++l) {
    if (buffer[l] >= 0) views_[l].data = activations_[buffer[l]].get() + views_[l].row + lanes();
  }
}

void Network::start_team(int threads) {
  if (!team_ || team_->threads() != threads || team_process_ != getpid()) {
    if (team_ && team_process_ != getpid()) team_.release();
    team_ = std::make_unique<Team>(threads);
    queue_ = std::make_unique<RowQueue>(threads);
    team_process_ = getpid();
  }
}

// Memory for so many samples and threads.
void Network::prepare(int samples, int threads) {
  start_team(threads);
  if (samples <= samples_ && threads == threads_) return;
  stages_.assign(threads, Stages());
  pair_stages_.assign(threads, Stages());
  samples_ = std::max(samples, samples_), threads_ = threads;
  views_.assign(convs_.size(), View());
  pairs_.clear(), pairs_.resize(convs_.size());
  size_t scratch = 0;
  for (size_t l = 0; l < convs_.size(); ++l) {
    ConvStage& conv = convs_[l];
    const int height = conv.shape.out_height(), width = conv.shape.out_width();
    const Layer* reader = l + 1 < convs_.size() ? convs_[l + 1].layer.get() : nullptr;
    const int below = reader == nullptr ? 0 : std::max(reader->input_overhang_rows(), 1);
    const int right = reader == nullptr ? 0 : std::max(reader->input_overhang_columns(), 1);
    const int blocks = vectors(conv.shape.out_channels, lanes());
    View& view = views_[l];
    view.row = size_t(1 + width + right) * lanes();
    view.plane = view.row * (1 + height + below);
    view.image = view.plane * blocks;
    scratch = std::max(scratch, conv.layer->scratch_floats(threads));
    if (is_pair(l)) {
      pairs_[l] = std::make_unique<RowPair>(*conv.layer, *reader, blocks, lanes(), width, view.row);
      scratch = std::max(scratch, pairs_[l]->scratch_floats(threads));
    }
    conv.styles = Buffer<float>(padded(conv.shape.in_channels) * samples_);
    conv.scales = Buffer<float>(padded(conv.shape.out_channels) * samples_);
  }
  share_buffers();
  scratch_ = Buffer<float>(), scratch_ = Buffer<float>(scratch);
  for (ImageStage& image : images_) {
    image.styles = Buffer<float>(padded(image.shape.in_channels) * samples_);
    image.modulated = Buffer<float>(image.layer->modulated_floats() * samples_);
    image.image_row = image.shape.width + lanes();
    if (&image == &images_.back()) continue;
    // A vector begins at most one pixel before the end of the last row of zeros.
    image.image = Buffer<float>(image.plane() * settings_.channels * samples_ + 2 * lanes());
  }
  ws_ = Buffer<float>(size_t(settings_.num_ws) * padded(settings_.w_dim) * samples_);
}

size_t Network::weight_bytes() const {
  size_t bytes = const_.bytes();
  for (const ConvStage& conv : convs_) {
    bytes += conv.layer->weight_bytes() + conv.affine.matrix.bytes() + conv.energy.bytes() +
             conv.noise.bytes();
  }
  for (const ImageStage& image : images_) {
    bytes += image.layer->weight_bytes() + image.affine.matrix.bytes();
  }
  return bytes + (mapping_ == nullptr ? 0 : mapping_->bytes());
}

size_t Network::memory_bytes() const {
  size_t bytes = weight_bytes() + scratch_.bytes() + ws_.bytes();
  for (const Buffer<float>& buffer : activations_) bytes += buffer.bytes();
  for (const ImageStage& image : images_) bytes += image.image.bytes() + image.modulated.bytes();
  return bytes;
}

size_t Network::largest_activations_bytes() const {
  std::vector<size_t> bytes;
  for (const ConvStage& conv : convs_) {
    bytes.push_back(size_t(4) * conv.shape.out_channels * conv.shape.out_height() *
                    conv.shape.out_width());
  }
  std::sort(bytes.rbegin(), bytes.rend());
  return bytes[0] + (bytes.size() > 1 ? bytes[1] : 0);
}

}  // namespace fastgan::engine
