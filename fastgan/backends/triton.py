"""The Triton backend: kernels of fastgan.kernels, for CUDA tensors.

Under TRITON_INTERPRET=1 Triton runs kernels in numpy; the backend then serves CPU tensors, but
only where it is asked for by name.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch

from fastgan.dispatch.spec import OpCall

# Module of fastgan.kernels that holds each launcher.
LAUNCHERS = {
    "bias_act": "bias_act",
    "bias_act_grad": "bias_act",
    "bias_act_grad2": "bias_act",
    "upfirdn2d": "upfirdn2d",
    "modulated_conv2d_scale": "modulated_conv2d",
    "modulated_conv2d_scale_grad": "modulated_conv2d",
    "modulated_conv2d_fused": "modulated_conv2d_fused",
    "spectral_norm": "spectral_norm",
    "spectral_norm_grad": "spectral_norm",
    "noise_bias_act": "noise_bias_act",
    "minibatch_std": "minibatch_std",
    "minibatch_std_grad": "minibatch_std",
    "normalize_act": "normalize_act",
    "normalize_act_grad": "normalize_act",
}
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def interpreted() -> bool:
    """Whether Triton was told to run kernels in numpy."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")


@cache
def why_unavailable() -> str | None:
    """None when Triton is installed and can run kernels here, else the reason."""
    if find_spec("triton") is None:
        return "triton is not installed; pip install triton"
    if interpreted():
        return None
    if not torch.cuda.is_available():
        return "no CUDA device"
    compilers = [os.environ.get("CC"), "cc", "gcc", "clang"]
    if not any(shutil.which(name) for name in compilers if name):
        return (
            "no C compiler found, and Triton needs one at the first call; install gcc or clang, "
            "or name one in CC"
        )
    return None


def why_unsupported(call: OpCall) -> str | None:
    """CUDA tensors of the four floating-point types; CPU tensors when interpreted."""
    device = "cpu" if interpreted() else "cuda"
    if call.device != device:
        return f"serves {device.upper()} tensors, not {call.device}"
    if call.dtype not in DTYPES:
        return f"serves float32, float64, float16 and bfloat16, not {call.dtype}"
    return None


def has_kernel(name: str) -> bool:
    """Whether a module of fastgan.kernels has the launcher."""
    return name in LAUNCHERS


def launcher(name: str) -> Callable[..., Any]:
    """The launcher `name` of its module in fastgan.kernels."""
    module = importlib.import_module(f"fastgan.kernels.{LAUNCHERS[name]}")
    function: Callable[..., Any] = getattr(module, name)
    return function
