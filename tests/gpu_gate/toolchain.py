"""Where nvcc and cuobjdump are: on PATH, in CUDA_HOME, or in wheels from PyPI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path


class MissingToolError(RuntimeError):
    """A program that the gate needs is not installed; the message says which, and where to get
    it."""


# What to install where a program is missing.
WHEELS = {
    "nvcc": "the CUDA toolkit, or the wheels that `make cuda-toolchain` installs",
    "cuobjdump": "nvidia-cuda-cuobjdump, or triton, which ships it",
}


def _folders() -> Iterator[Path]:
    home = os.environ.get("CUDA_HOME")
    if home:
        yield Path(home) / "bin"
    packages = Path(sysconfig.get_paths()["purelib"])
    yield from sorted(packages.glob("nvidia/*/bin"), reverse=True)  # the newest major version
    yield packages / "triton" / "backends" / "nvidia" / "bin"


@cache
def find(program: str) -> str:
    """The path of `program`.

    Raises:
        MissingToolError: it is nowhere.
    """
    on_path = shutil.which(program)
    if on_path:
        return on_path
    for folder in _folders():
        if os.access(folder / program, os.X_OK):
            return str(folder / program)
    raise MissingToolError(
        f"{program} is neither on PATH, nor in CUDA_HOME, nor in a wheel; install {WHEELS[program]}"
    )


def version() -> str:
    """Version of nvcc, for example 13.0.88."""
    printed = subprocess.run(
        [find("nvcc"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"V(\d+\.\d+\.\d+)", printed)
    if found is None:
        raise RuntimeError(f"nvcc --version printed no version:\n{printed}")
    return found[1]
