"""What torch's settings allow float32 kernels to round."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def allows_tf32(device: str) -> bool:
    """Whether convolutions of float32 on `device` may round their factors to TF32.

    That is torch.backends.cudnn.conv.fp32_precision, which torch.backends.cudnn.allow_tf32 sets
    too; torch.set_float32_matmul_precision is for matrix products alone.
    """
    settings = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    return device == "cuda" and bool(settings.fp32_precision == "tf32")


def without_autocast(device: str) -> AbstractContextManager[Any]:
    """Inside, torch.autocast changes no dtype: what kernels take as float32 stays float32."""
    if torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


# Read while tracing, as `select` is: the tracer cannot look into torch's settings.
allows_tf32._dynamo_marked_constant = True  # type: ignore[attr-defined]
