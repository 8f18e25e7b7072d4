// The extension module fastgan._C_cuda: an empty Python module whose loading registers the
// operators of csrc/cuda_ops as torch.ops.fastgan_cuda.*.
#include <Python.h>

PyMODINIT_FUNC PyInit__C_cuda(void) {
  static PyModuleDef module = {
      PyModuleDef_HEAD_INIT, "_C_cuda", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};
  return PyModule_Create(&module);
}
