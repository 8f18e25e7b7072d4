"""Every file of the extension `fastgan._C_cuda` compiles, with the headers of whatever torch is
installed, and registers the operators of `fastgan._C`. Linking needs a CUDA build of torch:
`make test-cuda-build`."""

import inspect
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest
import torch

from fastgan import _build
from fastgan.backends import triton
from tests.gpu_gate import toolchain

ROOT = Path(__file__).resolve().parents[2]
SOURCES = _build.cuda_sources(ROOT)
# The gate compiles and measures the kernels themselves, so here they need no optimisation.
HASTY = ("-Xcicc", "-O0", "-gencode=arch=compute_80,code=compute_80")


def compile_object(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    include = [ROOT / "csrc", Path(torch.__file__).parent / "include"]
    include.append(Path(sysconfig.get_paths()["include"]))
    flags = [*_build.cuda_flags()["nvcc"], *HASTY, *(f"-I{folder}" for folder in include)]
    command = [toolchain.find("nvcc"), "-c", *flags, str(source), "-o", str(target)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: Path(path).stem)
def test_every_file_of_the_extension_compiles(source, tmp_path):
    result = compile_object(ROOT / source, tmp_path / "object.o")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "object.o").stat().st_size > 0


def test_a_wrong_binding_does_not_compile(tmp_path):
    planted = tmp_path / "planted.cu"
    planted.write_text(
        """#include "cuda_ops/launch.h"
        static torch::stable::Tensor f(const torch::stable::Tensor& x) { return x.no_such(); }
        STABLE_TORCH_LIBRARY_IMPL(planted, CUDA, m) { m.impl("f", TORCH_BOX(&f)); }"""
    )
    result = compile_object(planted, tmp_path / "object.o")
    assert result.returncode != 0
    assert "no_such" in result.stdout + result.stderr


def schemas(folder: str, pattern: str) -> dict[str, str]:
    """{operator: schema} of the m.def calls in a folder."""
    found = {}
    for path in sorted((ROOT / "csrc" / folder).glob(pattern)):
        for literals in re.findall(r"m\.def\(((?:\s*\"[^\"]*\")+)\s*\)", path.read_text()):
            text = "".join(re.findall(r"\"([^\"]*)\"", literals))
            found[text.partition("(")[0]] = text
    return found


# Operators of one side alone; the ops ask has_kernel for them.
CUDA_ALONE = {
    "modulated_conv2d_fused", "spectral_norm_group", "spectral_norm_group_grad", "noise_bias_act",
    "minibatch_std", "minibatch_std_grad", "normalize_act", "normalize_act_grad",
}  # fmt: skip
CPU_ALONE = {"bias_act_signs", "bias_act_signs_grad"}


def test_the_operators_have_the_schemas_of_the_cpu():
    cpu, cuda = schemas("cpu", "*.cpp"), schemas("cuda_ops", "*.cu")
    kernels = ("bias_act", "upfirdn2d", "modulated_conv2d", "spectral_norm")
    cpu = {name: text for name, text in cpu.items() if name.startswith(kernels)}
    assert cuda.keys() - cpu.keys() == CUDA_ALONE
    assert cpu.keys() - cuda.keys() == CPU_ALONE
    shared = cpu.keys() & cuda.keys()
    assert {name: cuda[name] for name in shared} == {name: cpu[name] for name in shared}
    assert len(shared) >= 8


def test_triton_has_the_arguments_of_every_operator():
    """A backend that serves what the other does, called in the same way."""
    cuda = schemas("cuda_ops", "*.cu")
    assert set(triton.LAUNCHERS) <= set(cuda)
    for name in triton.LAUNCHERS:
        arguments = re.findall(r"(\w+)(?:,|$)", cuda[name].partition("(")[2].rpartition(") ->")[0])
        assert arguments == list(inspect.signature(triton.launcher(name)).parameters), name
