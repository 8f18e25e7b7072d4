// What comes from Python to the synthesis engine, checked and converted.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/isa_detect.h"
#include "engine/layer.h"

namespace py = pybind11;

namespace fastgan::engine {

using Array = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Bytes = py::array_t<uint8_t, py::array::c_style>;

// `name` empty: FASTGAN_CPU_CAPABILITY or the best that this CPU has.
inline cpu::Isa parse_isa(std::string name) {
  const cpu::Isa best = cpu::detect_isa();
  const char* forced = std::getenv("FASTGAN_CPU_CAPABILITY");
  if (name.empty() && forced != nullptr) name = forced;
  if (name.empty()) return best;
  for (int i = 0; i < 3; ++i) {
    if (name != cpu::kIsaNames[i]) continue;
    if (i > static_cast<int>(best)) {
      throw std::invalid_argument("this CPU has no " + name + "; its best is " +
                                  cpu::kIsaNames[static_cast<int>(best)]);
    }
    return static_cast<cpu::Isa>(i);
  }
  throw std::invalid_argument("expected default, avx2 or avx512, got " + name);
}

inline std::string shape_text(const std::vector<py::ssize_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

inline const float* checked(const char* what, const Array& array,
                            std::vector<py::ssize_t> expected) {
  const std::vector<py::ssize_t> found(array.shape(), array.shape() + array.ndim());
  if (found != expected) {
    throw std::invalid_argument(std::string(what) + ": expected " + shape_text(expected) +
                                ", got " + shape_text(found));
  }
  return array.data();
}

inline Choice to_choice(const py::dict& d) {
  const std::string split = d["split"].cast<std::string>();
  const auto found = std::find(std::begin(kSplits), std::end(kSplits), split);
  if (found == std::end(kSplits)) {
    throw std::invalid_argument("split: expected team, rows or channels, got " + split);
  }
  return {d["tile"].cast<int>(), static_cast<Split>(found - std::begin(kSplits)),
          d["batch"].cast<int>(), d["columns"].cast<int>()};
}

inline py::dict from_choice(const Choice& c) {
  py::dict d;
  d["tile"] = c.tile, d["split"] = kSplits[static_cast<int>(c.split)], d["batch"] = c.batch,
  d["columns"] = c.columns;
  return d;
}

inline LayerShape to_shape(int in_channels, int out_channels, int height, int width, bool up) {
  return {in_channels, out_channels, height, width, up};
}

}  // namespace fastgan::engine
