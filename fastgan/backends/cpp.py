"""The C++ backend: kernels of csrc/cpu in the extension `fastgan._C`, for CPU tensors."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from fastgan.dispatch.spec import GPU_OPS, OpCall

# The kernel that stands for an op whose name no kernel has.
KERNELS = {"modulated_conv2d": "modulated_conv2d_scale", "conv2d_resample": "upfirdn2d"}
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@cache
def why_unavailable() -> str | None:
    """None when the extension is built and loads, else the reason."""
    try:
        importlib.import_module("fastgan._C")
    except ImportError as error:
        return (
            f"the extension fastgan._C does not load ({error}); reinstall where a C++ compiler "
            "is, with FASTGAN_REQUIRE_EXT=1 to see why a build fails"
        )
    return None


def why_unsupported(call: OpCall) -> str | None:
    """CPU tensors of the four floating-point types."""
    if call.op in GPU_OPS:
        return f"{call.op} has kernels for GPUs alone; the reference serves CPU tensors"
    kernel = KERNELS.get(call.op, call.op)
    if not hasattr(torch.ops.fastgan_cpp, kernel):
        return f"the extension fastgan._C has no kernel {kernel}: it is older than fastgan; rebuild"
    if call.device != "cpu":
        return f"serves CPU tensors, not {call.device}"
    if call.dtype not in DTYPES:
        return f"serves float32, float64, float16 and bfloat16, not {call.dtype}"
    return None


def has_kernel(name: str) -> bool:
    """Whether the extension holds the operator."""
    return hasattr(torch.ops.fastgan_cpp, name)


def launcher(name: str) -> Callable[..., Any]:
    """The operator `torch.ops.fastgan_cpp.<name>`."""
    operator: Callable[..., Any] = getattr(torch.ops.fastgan_cpp, name).default
    return operator


def release_memory() -> int:
    """Return to the system what the kernels keep of freed results; the number of bytes.

    Results of 1 MiB and more reuse the memory of earlier ones, of which at most an eighth of the
    machine's memory is kept.
    """
    if why_unavailable() is not None:
        return 0
    return int(torch.ops.fastgan_cpp.release_memory())
