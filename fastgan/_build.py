"""What the extensions are built from: sources and flags. Read by setup.py, by path.

Imports the standard library only, because it runs before fastgan is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

TORCH_TARGET = "0x020a000000000000"  # the LibTorch stable ABI of torch 2.10


def cpu_sources(root: Path) -> list[str]:
    """Paths, relative to `root`, of every C++ file of `fastgan._C`."""
    files = [root / "csrc" / "module_cpu.cpp", *sorted((root / "csrc" / "cpu").glob("*.cpp"))]
    return [str(file.relative_to(root)) for file in files]


def cpu_headers(root: Path) -> list[str]:
    """Paths of the headers: a change in any of them rebuilds every source."""
    return [str(file.relative_to(root)) for file in sorted((root / "csrc").rglob("*.h"))]


def cpu_flags() -> list[str]:
    """Compiler flags of `fastgan._C`.

    -fno-trapping-math lets the compiler turn a comparison into a blend, which is what makes the
    plain loops vectorise; -ffast-math is never used, because NaN and infinity must propagate.
    """
    flags = [f"-DTORCH_TARGET_VERSION={TORCH_TARGET}"]
    if sys.platform == "win32":
        return [*flags, "/O2", "/std:c++17"]
    flags += ["-std=c++17", "-fvisibility=hidden", "-fno-trapping-math", "-fno-math-errno"]
    flags += ["-fopenmp-simd", "-Wall", "-Wno-attributes", "-Wno-psabi"]
    asked = os.environ.get("CXXFLAGS", "").split()
    sanitizers = [flag for flag in asked if "sanitize" in flag]
    if sanitizers:  # given here, because not every setuptools hands CXXFLAGS to the compiler
        return [*flags, *sanitizers, "-O1", "-g", "-fno-omit-frame-pointer"]
    return [*flags, "-O3", "-g0"]  # Python's own flags may ask for -g, which costs time and space


# fastgan._engine


def engine_sources(root: Path) -> list[str]:
    """Paths, relative to `root`, of every C++ file of `fastgan._engine`."""
    files = [root / "csrc" / "module_engine.cpp", *sorted((root / "csrc" / "engine").glob("*.cpp"))]
    return [str(file.relative_to(root)) for file in files]


def engine_flags() -> list[str]:
    """Compiler flags of `fastgan._engine`. GCC takes the undefined lanes inside of its own AVX-512
    functions for variables of ours that have no value."""
    flags = cpu_flags()[1:]  # without torch's
    if sys.platform == "win32":
        return flags
    # Where loops lie decides several percent of some layers, with any change elsewhere.
    aligned = ["-falign-functions=64", "-falign-loops=64"]
    return [*flags, *aligned, "-Wno-maybe-uninitialized", "-Wno-uninitialized", "-pthread"]


def engine_link_flags() -> list[str]:
    """Linker flags of `fastgan._engine`."""
    return [] if sys.platform == "win32" else ["-pthread"]


# fastgan._C_cuda

DEFAULT_ARCHITECTURES = ("8.0", "8.6", "8.9", "9.0", "10.0", "12.0")


def cuda_sources(root: Path) -> list[str]:
    """Paths, relative to `root`, of every file of `fastgan._C_cuda`."""
    files = [root / "csrc" / "module_cuda.cpp", *sorted((root / "csrc" / "cuda_ops").glob("*.cu"))]
    return [str(file.relative_to(root)) for file in files]


def cuda_headers(root: Path) -> list[str]:
    """Paths of the headers: a change in any of them rebuilds every source."""
    kernels = [str(file.relative_to(root)) for file in sorted((root / "csrc").rglob("*.cuh"))]
    return cpu_headers(root) + kernels


def cuda_flags() -> dict[str, list[str]]:
    """Flags of `fastgan._C_cuda` for the C++ compiler and for nvcc, but for the architectures.

    USE_CUDA makes torch's header declare the function that gives the current stream.
    """
    shared = [f"-DTORCH_TARGET_VERSION={TORCH_TARGET}", "-DUSE_CUDA", "-std=c++17"]
    hidden = ["-O3", "-Xcompiler", "-fvisibility=hidden"]
    return {"cxx": [*shared, "-O2", "-g0", "-fvisibility=hidden"], "nvcc": [*shared, *hidden]}


def find_nvcc() -> str | None:
    """Where nvcc is: in CUDA_HOME, on PATH, in /usr/local/cuda, or in a wheel from PyPI."""
    folders = [Path("/usr/local/cuda/bin")]
    wheels = Path(sysconfig.get_paths()["purelib"]) / "nvidia"
    folders += sorted(wheels.glob("cu*/bin"), reverse=True)  # the newest major version first
    home = os.environ.get("CUDA_HOME")
    if home:
        return shutil.which("nvcc", path=str(Path(home) / "bin"))
    return shutil.which("nvcc") or shutil.which("nvcc", path=os.pathsep.join(map(str, folders)))


def _ask(nvcc: str, *arguments: str) -> str:
    done = subprocess.run([nvcc, *arguments], capture_output=True, text=True)
    return done.stdout + done.stderr


def toolkit_of(nvcc: str) -> Path:
    """The folder of the toolkit. nvcc itself says it, as the one on PATH may be a script."""
    found = re.search(r"^#\$ TOP=(.+)$", _ask(nvcc, "--dryrun", "-x", "cu", os.devnull), re.M)
    return Path(found[1] if found else Path(nvcc).parents[1]).resolve()


def architectures(nvcc: str) -> str:
    """Those of DEFAULT_ARCHITECTURES that nvcc knows, in the words of TORCH_CUDA_ARCH_LIST. PTX of
    the last one serves GPUs that come later."""
    known = re.findall(r"compute_(\d+)(\d)\b", _ask(nvcc, "--list-gpu-arch"))
    return ";".join(a for a in DEFAULT_ARCHITECTURES if tuple(a.split(".")) in known) + "+PTX"


def why_no_cuda(torch_cuda: str | None, nvcc: str | None) -> str | None:
    """What is missing to build `fastgan._C_cuda` with a torch built for CUDA `torch_cuda`, or
    None. Whether this machine has a GPU does not matter."""
    if torch_cuda is None:
        return "this torch is a CPU build; install one that is built with CUDA"
    if nvcc is None:
        return (
            f"nvcc is missing; install the CUDA toolkit {torch_cuda}, put its nvcc on PATH or its "
            "folder into CUDA_HOME"
        )
    release = re.search(r"release (\d+)\.", _ask(nvcc, "--version"))
    if release is None or release[1] != torch_cuda.split(".")[0]:
        is_of = f"of CUDA {release[1]}" if release else "broken"
        return f"{nvcc} is {is_of}, torch is built with CUDA {torch_cuda}; they must agree"
    return None


def prepare_cuda(torch_cuda: str | None) -> bool:
    """Whether to build `fastgan._C_cuda`, as FASTGAN_CUDA says: auto, 1 or 0. Tells torch's build
    where the toolkit is and which GPUs to compile for.

    Raises:
        SystemExit: FASTGAN_CUDA=1 and something is missing, or it is none of the three.
    """
    wanted = os.environ.get("FASTGAN_CUDA") or "auto"
    if wanted not in ("auto", "1", "0"):
        raise SystemExit(f"fastgan: FASTGAN_CUDA must be auto, 1 or 0, got {wanted}")
    if wanted == "0" or (wanted == "auto" and torch_cuda is None):
        return False
    nvcc = find_nvcc()
    reason = why_no_cuda(torch_cuda, nvcc)
    if reason is not None or nvcc is None:
        if wanted == "1":
            raise SystemExit(f"fastgan: FASTGAN_CUDA=1, but {reason}")
        print(f"fastgan: CUDA kernels not built ({reason})", file=sys.stderr)
        return False
    os.environ["CUDA_HOME"] = str(toolkit_of(nvcc))
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", architectures(nvcc))
    return True


def link_runtime(libraries: list[str], arguments: list[str]) -> None:
    """Change what the extension is linked with where the toolkit came as wheels, which have no
    libcudart.so for -lcudart to find, but libcudart.so.13 or the like."""
    home = Path(os.environ["CUDA_HOME"])
    versions = sorted(home.glob("lib*/libcudart.so.*"))
    if versions and not list(home.glob("lib*/libcudart.so")):
        libraries.remove("cudart")
        arguments.append(str(versions[-1]))
