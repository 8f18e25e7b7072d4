"""Compile a .cu file for a GPU and read from the result what each kernel uses."""

from __future__ import annotations

import ctypes
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.gpu_gate import toolchain

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "csrc" / "cuda").glob("*.cu"))
ARCHITECTURES = ("sm_80", "sm_90")  # of continuous integration, for part of the kernels
ALL_ARCHITECTURES = (*ARCHITECTURES, "sm_120")
MOST_KERNELS = 60  # that continuous integration compiles for an architecture

# Spills fail the build: a kernel that spills works, only slowly, so no other test would tell.
FLAGS = ("-std=c++17", "-O3", "-cubin", "-Xptxas", "-warn-spills,-Werror", f"-I{ROOT / 'csrc'}")

# Instructions that are counted: local memory, which is what spills and indexed local arrays become,
# 16-byte accesses of global memory, and multiplications of tensor cores.
INSTRUCTIONS = {
    "local_loads": r"LDL\b",
    "local_stores": r"STL\b",
    "wide_loads": r"LDG\.E(?:\.\w+)*?\.128\b",
    "wide_stores": r"STG\.E(?:\.\w+)*?\.128\b",
    "tensor_core": r"HMMA\b",
}

Usage = dict[str, int]


class CompileError(RuntimeError):
    """nvcc or ptxas refused the file; the message is theirs."""


def compile_cubin(source: Path, architecture: str, cubin: Path, every: bool = False) -> None:
    """Raises CompileError, also when a kernel spills registers."""
    flags = [*FLAGS, f"-arch={architecture}", *(["-DFASTGAN_GATE_ALL"] if every else [])]
    command = [toolchain.find("nvcc"), *flags, str(source), "-o", cubin]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise CompileError(f"{source.name} for {architecture}:\n{result.stdout}{result.stderr}")


@cache
def usage(source: Path, architecture: str, every: bool = False) -> dict[str, Usage]:
    """Kernel name -> registers, bytes of shared memory and of stack, counts of INSTRUCTIONS. Of
    the kernels of continuous integration, or of every one that the file instantiates."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernels.cubin"
        compile_cubin(source, architecture, cubin, every)
        kernels = _resources(_dump("--dump-resource-usage", cubin))
        for name, counts in _instructions(_dump("--dump-sass", cubin)).items():
            kernels[name] |= counts
    return {readable(name): kernels[name] for name in sorted(kernels)}


def _dump(what: str, cubin: Path) -> str:
    command = [toolchain.find("cuobjdump"), what, cubin]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _resources(text: str) -> dict[str, Usage]:
    found = re.findall(r"Function (\w+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+)", text)
    return {
        name: {"registers": int(registers), "stack": int(stack), "shared": int(shared)}
        for name, registers, stack, shared in found
    }


def _instructions(text: str) -> dict[str, Usage]:
    kernels = re.split(r"Function : (\w+)", text)[1:]
    return {
        name: {key: len(re.findall(rf"\b{what}", sass)) for key, what in INSTRUCTIONS.items()}
        for name, sass in zip(kernels[::2], kernels[1::2], strict=True)
    }


def readable(mangled: str) -> str:
    """`tiled<float, Tile<2, 1, 4, 1, 256>>` for a mangled name: no namespaces, no arguments."""
    name = re.sub(r"\((?:int|bool|long)\)", "", _demangle(mangled))
    name = re.sub(r"\b(?:\w+::)+", "", name.removeprefix("void "))
    depth = 0
    for i, character in enumerate(name):
        depth += {"<": 1, ">": -1}.get(character, 0)
        if character == "(" and depth == 0:
            return name[:i].replace("> >", ">>")
    return name


def _demangle(mangled: str) -> str:
    demangle = ctypes.CDLL("libstdc++.so.6").__cxa_demangle
    demangle.restype = ctypes.c_void_p
    status = ctypes.c_int()
    text = demangle(mangled.encode(), None, None, ctypes.byref(status))
    if status.value != 0:
        return mangled  # extern "C"
    name = ctypes.string_at(text).decode()
    free = ctypes.CDLL(None).free
    free.argtypes = [ctypes.c_void_p]
    free(text)
    return name
