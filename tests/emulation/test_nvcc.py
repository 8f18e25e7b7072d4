"""nvcc compiles every CUDA source, and no kernel spills registers."""

import shutil
import subprocess

import pytest

from tests.emulation import build

SOURCES = sorted((build.ROOT / "csrc" / "cuda").glob("*.cu"))
ARCHITECTURES = ("sm_80", "sm_90")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_compiles_without_spills(source, architecture, tmp_path):
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is missing")
    command = [
        "nvcc", "-std=c++17", "-O3", f"-arch={architecture}", "-cubin", "--resource-usage",
        "-Xptxas", "-warn-spills,-Werror", f"-I{build.ROOT / 'csrc'}", str(source),
        "-o", str(tmp_path / "kernels.cubin"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert done.stderr.count("registers") > 0, "nothing was compiled"
    assert done.stderr.count("0 bytes stack frame") == done.stderr.count("bytes stack frame")
