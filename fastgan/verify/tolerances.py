"""How close a kernel must be to the specification: one table.

The rule measures both against the specification in float64: a kernel may be at most twice as far
from it as the specification itself, run in the kernel's dtype, plus a few roundings.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = {
    torch.float64: 1e-13,
    torch.float32: 1e-6,
    torch.float16: 1e-3,
    torch.bfloat16: 8e-3,
}
DTYPES = tuple(EPSILON)
# Minimal filtering (3x3 convolutions of float32 on the CPU) rounds in the transforms too: its
# largest error, in standard deviations of the exact result, for up to 128 channels.
MINIMAL_FILTERING = 2e-5


def compare(
    actual: Tensor,
    rounded: Tensor,
    exact: Tensor,
    *,
    order: int = 0,
    dtype: torch.dtype | None = None,
) -> tuple[float, float]:
    """(distance of a kernel's result from the exact one, the most that it may be).

    Args:
        actual: the kernel's result.
        rounded: the specification's in the same dtype.
        exact: the specification's in float64.
        order: of the gradient; each order is one more result that was rounded.
        dtype: what results on the way were rounded to, None: that of `actual`. The gradient of
            float32 styles comes from images, which may be in half precision.

    Distances are absolute; the roundings are relative to the largest magnitude of `exact`, at
    least 1. A NaN is infinitely far from anything.
    """
    if exact.numel() == 0:
        return 0.0, 0.0
    scale = max(1.0, exact.detach().abs().max().item())
    allowed = 2 * distance(rounded, exact) + (1 + order) * EPSILON[dtype or actual.dtype] * scale
    return distance(actual, exact), allowed


def distance(value: Tensor, exact: Tensor) -> float:
    """Largest difference; infinite where it is not a number."""
    found = (value.detach().to(exact.device, exact.dtype) - exact.detach()).abs().max().item()
    return found if found == found else float("inf")
