"""What the extensions are built from: sources and flags. Read by setup.py, by path.

Imports the standard library only, because it runs before fastgan is installed.
"""

from __future__ import annotations

import os
import sys
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
