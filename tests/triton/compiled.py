"""Compiles what the launchers launch, for GPUs that need not be there, and reads the resources.

The launchers run on tensors without memory; instead of running, each kernel is compiled for a
target with the types, constants and divisibilities that Triton would find in its arguments. So the
gate sees the kernels that ship, with the block sizes that ship.
"""

import inspect
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction, mangle_type

from fastgan.kernels import config

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


@dataclass(frozen=True)
class Launch:
    """One recorded launch of a kernel."""

    kernel: Any
    arguments: dict[str, Any]
    options: dict[str, Any]


@dataclass(frozen=True)
class Resources:
    """What a compiled kernel uses. Spills count instructions on CUDA and registers on HIP;
    products are instructions of tensor cores."""

    registers: int
    spills: int
    wide_loads: int
    wide_stores: int
    products: int


def record(call: Callable[[], Any], target: str) -> list[Launch]:
    """The launches of `call` on a machine with the target's GPU, none of which runs."""
    launches: list[Launch] = []

    def run(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        options = {key: kwargs.pop(key) for key in ("num_warps", "num_stages") if key in kwargs}
        bound = inspect.signature(self.fn).bind(*args, **kwargs)
        launches.append(Launch(self, dict(bound.arguments), options))

    original = JITFunction.run, config.WARP_SIZE
    JITFunction.run, config.WARP_SIZE = run, TARGETS[target].warp_size
    try:
        call()
    finally:
        JITFunction.run, config.WARP_SIZE = original
    return launches


def compile_launch(launch: Launch, target: str) -> Any:
    """Compile a recorded launch as Triton would at its first call on that target."""
    signature: dict[str, str] = {}
    constants: dict[str, Any] = {}
    attributes: dict[tuple[int], list[list[Any]]] = {}
    for index, parameter in enumerate(launch.kernel.params):
        name, value = parameter.name, launch.arguments[parameter.name]
        if parameter.is_constexpr or (isinstance(value, int) and value == 1):
            signature[name], constants[name] = "constexpr", value
            continue
        signature[name] = parameter.annotation_type or mangle_type(value)
        aligned = isinstance(value, torch.Tensor) or (isinstance(value, int) and value % 16 == 0)
        if aligned:  # torch's allocator aligns to more than 16 bytes
            attributes[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(
        fn=launch.kernel, signature=signature, constexprs=constants, attrs=attributes
    )
    return triton.compile(source, target=TARGETS[target], options=launch.options)


def resources(compiled: Any) -> Resources:
    """Registers, spills and 128-bit accesses to global memory of a compiled kernel."""
    return _of_cubin(compiled.asm["cubin"]) if "cubin" in compiled.asm else _of_amd(compiled)


def _of_cubin(cubin: bytes) -> Resources:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = _output("cuobjdump", "--dump-resource-usage", file.name)
        code = _output("nvdisasm", "-c", file.name)
    found = re.search(r"REG:(\d+)", usage)
    assert found, usage
    return Resources(
        int(found[1]),
        _count(r"\b(?:LDL|STL)\b", code),
        _count(r"\bLDG(?:STS)?\.E\.(?:\w+\.)*128\b", code),
        _count(r"\bSTG\.E\.(?:\w+\.)*128\b", code),
        _count(r"\b(?:HMMA|HGMMA)\.", code),
    )


def _of_amd(compiled: Any) -> Resources:
    code = compiled.asm["amdgcn"]

    def number(key: str) -> int:
        found = re.search(rf"\.{key}:\s*(\d+)", code)
        assert found, key
        return int(found[1])

    return Resources(
        number("vgpr_count"),
        number("vgpr_spill_count") + number("sgpr_spill_count"),
        _count(r"\b(?:global|buffer)_load_dwordx4\b", code),
        _count(r"\b(?:global|buffer)_store_dwordx4\b", code),
        _count(r"\bv_mfma_", code),
    )


def _output(tool: str, *arguments: str) -> str:
    command = [str(TOOLS / tool), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _count(pattern: str, code: str) -> int:
    return len(re.findall(pattern, code))
