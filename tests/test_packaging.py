"""The wheel: what is in it, that it runs from an empty directory, and installs uncompiled.

Each build starts from a copy of the tracked files, so that the working tree stays as it is. No
network and no build isolation: torch comes from the environment that runs the tests.
"""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
NOT_BUILT = "fastgan: C++ kernels not built"

BIAS_ACT_AGREES = """
import fastgan, torch
print(fastgan.__file__)
x, bias = torch.randn(2, 3, 5, 7, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
y = fastgan.ops.bias_act(x, bias, backend="cpp")
expected = fastgan.ops.bias_act(x, bias, backend="reference")
torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
"""

REFERENCE_SERVES = """
import fastgan, torch
print(fastgan.__file__)
fastgan.ops.bias_act(torch.randn(2, 3, 5, 7))
try:
    fastgan.ops.bias_act(torch.randn(2, 3), backend="cpp")
except fastgan.BackendUnavailableError as error:
    assert "compiler" in str(error), error
else:
    raise SystemExit("cpp ran without the extension")
"""


def run(*command, folder, **environment):
    """Run a command with fastgan's variables and the import path of the tests taken away."""
    base = {k: v for k, v in os.environ.items() if not k.startswith(("FASTGAN_", "PYTHON"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**base, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the files that git tracks or would track."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("packaging: needs git and a checkout to know the files")
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    copy = tmp_path_factory.mktemp("tree")
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    return copy


def build(tree, out, **environment):
    """Run `pip wheel` on the tree."""
    options = ["--no-build-isolation", "--no-deps", "-v", "-w", out]
    return run(sys.executable, "-m", "pip", "wheel", *options, tree, folder=tree, **environment)


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory):
    """A wheel with the extension."""
    if shutil.which("c++") is None:
        pytest.skip("packaging: needs a C++ compiler")
    out = tmp_path_factory.mktemp("wheel")
    hasty = out / "c++"  # the build as it is, but unoptimised: a tenth of the time
    hasty.write_text(f'#!/bin/sh\nexec {shutil.which("c++")} "$@" -O0\n')
    hasty.chmod(0o755)
    result = build(tree, out, CXX=str(hasty), FASTGAN_REQUIRE_EXT="1")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return next(out.glob("fastgan-*.whl"))


@pytest.fixture(scope="module")
def uncompiled(tree, tmp_path_factory):
    """A wheel built where the compiler fails, and what the build said."""
    out = tmp_path_factory.mktemp("uncompiled")
    shutil.rmtree(tree / "build", ignore_errors=True)
    result = build(tree, out, CXX="/bin/false", CC="/bin/false")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return next(out.glob("fastgan-*.whl")), result.stdout + result.stderr


def install(wheel, folder):
    """Install a wheel into a new environment that sees torch; return its Python."""
    place = folder / "venv"
    venv.create(place, system_site_packages=True, with_pip=False, symlinks=os.name != "nt")
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    command = [sys.executable, "-m", "pip", "--python", python, "install"]
    result = run(*command, "--no-deps", "--no-index", wheel, folder=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    # The folder of torch, as a plain path: the .pth files in it, such as the one of an editable
    # fastgan, are then not obeyed, and the new environment's own packages come first.
    site = next(place.rglob("site-packages"))
    (site / "outer.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")
    (folder / "empty").mkdir()
    return python, folder / "empty"


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Python of an environment with the compiled wheel, and an empty directory."""
    return install(wheel, tmp_path_factory.mktemp("installed"))


def test_wheel_contains_every_room(tree, wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        "fastgan/kernels/__init__.py",
        "fastgan/csrc/cpu/isa.h",
        "fastgan/csrc/common/tensor.h",
        "fastgan/csrc/module_cpu.cpp",
        "fastgan/csrc/module_cuda.cpp",
        "fastgan/csrc/cuda/storage.cuh",
        "fastgan/csrc/cuda_ops/bias_act.cu",
        "fastgan/csrc/cuda_ops/launch.h",
        "fastgan/_C.abi3.so",
        "fastgan/py.typed",
        "fastgan/cli.py",
    }
    sources = [*tree.glob("fastgan/**/*.py"), *tree.glob("fastgan/assets/*.*")]
    wanted |= {path.relative_to(tree).as_posix() for path in sources}
    wanted |= {f"fastgan/kernels/{path.name}" for path in tree.glob("kernels/*.py")}
    assert not wanted - names
    assert "fastgan/assets/critters64.zip" in names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "csrc"))]


def test_wheel_runs_from_an_empty_directory(installed):
    python, empty = installed
    result = run(python, "-c", BIAS_ACT_AGREES, folder=empty)
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()).is_relative_to(python.parents[1])
    assert not list(empty.iterdir())


def test_installed_commands_run_from_an_empty_directory(installed):
    python, empty = installed
    for command in ([python, "-m", "fastgan"], [python.parent / "fastgan"]):
        result = run(*command, "recipes", folder=empty)
        assert result.returncode == 0, result.stderr
        assert "stylegan2" in result.stdout
    assert not list(empty.iterdir())


def test_a_broken_compiler_still_installs_the_reference(uncompiled, tmp_path):
    wheel, said = uncompiled
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if "_C" in Path(name).name]
    lines = [line for line in said.splitlines() if NOT_BUILT in line]
    assert len(lines) == 1, said[-3000:]
    assert "torch reference backend serves" in lines[0]
    python, empty = install(wheel, tmp_path)
    result = run(python, "-c", REFERENCE_SERVES, folder=empty)
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()).is_relative_to(python.parents[1])


def test_a_broken_compiler_is_an_error_when_the_extension_is_required(tree, tmp_path):
    shutil.rmtree(tree / "build", ignore_errors=True)
    result = build(tree, tmp_path, CXX="/bin/false", CC="/bin/false", FASTGAN_REQUIRE_EXT="1")
    assert result.returncode != 0
    assert NOT_BUILT in result.stdout + result.stderr
    assert not list(tmp_path.glob("*.whl"))
