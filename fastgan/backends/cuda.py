"""The CUDA backend: kernels of csrc/cuda in the extension `fastgan._C_cuda`, for CUDA tensors."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from fastgan.dispatch.spec import OpCall

# The kernel that stands for an op whose name no kernel has.
KERNELS = {"modulated_conv2d": "modulated_conv2d_scale", "conv2d_resample": "upfirdn2d"}
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@cache
def why_unavailable() -> str | None:
    """None when the extension is built and a GPU is there, else the reason."""
    try:
        importlib.import_module("fastgan._C_cuda")
    except ImportError as error:
        return (
            f"the extension fastgan._C_cuda does not load ({error}); build it where nvcc and a "
            "CUDA build of torch are: FASTGAN_CUDA=1 pip install --no-build-isolation ."
        )
    if not torch.cuda.is_available():
        return "no CUDA device"
    return None


def why_unsupported(call: OpCall) -> str | None:
    """CUDA tensors of the four floating-point types."""
    if call.device != "cuda":
        return f"serves CUDA tensors, not {call.device}"
    if call.dtype not in DTYPES:
        return f"serves float32, float64, float16 and bfloat16, not {call.dtype}"
    kernel = KERNELS.get(call.op, call.op)
    if not hasattr(torch.ops.fastgan_cuda, kernel):
        return (
            f"the extension fastgan._C_cuda has no kernel {kernel}: it is older than fastgan; "
            "rebuild"
        )
    return None


def has_kernel(name: str) -> bool:
    """Whether the extension holds the operator."""
    return hasattr(torch.ops.fastgan_cuda, name)


def launcher(name: str) -> Callable[..., Any]:
    """The operator `torch.ops.fastgan_cuda.<name>`."""
    operator: Callable[..., Any] = getattr(torch.ops.fastgan_cuda, name).default
    return operator
