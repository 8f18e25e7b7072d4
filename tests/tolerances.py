"""How close a kernel must be to the specification: one table, no literals in the tests.

The rule measures both against the specification in float64: a kernel may be at most twice as far
from it as the specification itself, run in the kernel's dtype, plus a few roundings.
"""

import torch
from torch import Tensor

EPSILON = {
    torch.float64: 1e-13,
    torch.float32: 1e-6,
    torch.float16: 1e-3,
    torch.bfloat16: 8e-3,
}
DTYPES = tuple(EPSILON)


def assert_close_to_exact(actual: Tensor, rounded: Tensor, exact: Tensor) -> None:
    """`actual`: the kernel's; `rounded`: the specification's in the same dtype; `exact`: in
    float64. Distances are relative to the largest magnitude of `exact`, at least 1."""
    assert actual.shape == exact.shape
    assert actual.dtype == rounded.dtype
    if exact.numel() == 0:
        return
    scale = max(1.0, exact.detach().abs().max().item())
    allowed = 2 * _distance(rounded, exact) + EPSILON[actual.dtype] * scale
    assert _distance(actual, exact) <= allowed


def _distance(value: Tensor, exact: Tensor) -> float:
    return (value.detach().double() - exact.detach()).abs().max().item()
