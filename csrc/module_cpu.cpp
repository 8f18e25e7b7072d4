// The extension module fastgan._C: an empty Python module whose loading registers the operators of
// csrc/cpu as torch.ops.fastgan_cpp.*; and the choice of the instruction set.
#include <Python.h>

#include <cstdlib>
#include <cstring>

#include "common/tensor.h"
#include "cpu/isa_detect.h"

namespace fastgan::cpu {
namespace {

Isa parse(const std::string& name, const char* source) {
  for (int i = 0; i < 3; ++i) {
    if (name != kIsaNames[i]) continue;
    STD_TORCH_CHECK(i <= static_cast<int>(detected_isa()), source, ": this CPU has no ", name,
                    "; its best is ", kIsaNames[static_cast<int>(detected_isa())]);
    return static_cast<Isa>(i);
  }
  STD_TORCH_CHECK(false, source, ": expected default, avx2 or avx512, got ", name);
}

Isa initial_isa() {
  const char* forced = std::getenv("FASTGAN_CPU_CAPABILITY");
  if (forced == nullptr || *forced == '\0') return detected_isa();
  return parse(forced, "FASTGAN_CPU_CAPABILITY");
}

// Set at the first call of a kernel, so that a wrong FASTGAN_CPU_CAPABILITY raises there and not
// while the module loads.
Isa& selected_isa() {
  static Isa isa = initial_isa();
  return isa;
}

std::string cpu_capability() { return kIsaNames[static_cast<int>(current_isa())]; }

std::string set_cpu_capability(const std::string& name) {
  selected_isa() = parse(name, "set_cpu_capability");
  return cpu_capability();
}

}  // namespace

Isa detected_isa() {
  static const Isa isa = detect_isa();
  return isa;
}

Isa current_isa() { return selected_isa(); }

}  // namespace fastgan::cpu

STABLE_TORCH_LIBRARY(fastgan_cpp, m) {
  m.def("cpu_capability() -> str");
  m.def("set_cpu_capability(str name) -> str");
}

STABLE_TORCH_LIBRARY_IMPL(fastgan_cpp, CompositeExplicitAutograd, m) {
  m.impl("cpu_capability", TORCH_BOX(&fastgan::cpu::cpu_capability));
  m.impl("set_cpu_capability", TORCH_BOX(&fastgan::cpu::set_cpu_capability));
}

PyMODINIT_FUNC PyInit__C(void) {
  static PyModuleDef module = {
      PyModuleDef_HEAD_INIT, "_C", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  return PyModule_Create(&module);
}
