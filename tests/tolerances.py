"""How close a kernel must be to the specification, as an assertion; the rule and its table are in
`fastgan.verify.tolerances`, and no test has literals of its own."""

import torch
from torch import Tensor

from fastgan.verify.tolerances import DTYPES, EPSILON, MINIMAL_FILTERING, compare, distance

__all__ = ["DTYPES", "EPSILON", "assert_close_to_exact", "assert_minimally_filtered"]


def assert_close_to_exact(
    actual: Tensor,
    rounded: Tensor,
    exact: Tensor,
    *,
    order: int = 0,
    dtype: torch.dtype | None = None,
) -> None:
    """`actual`: the kernel's; `rounded`: the specification's in the same dtype; `exact`: in
    float64. Distances are relative to the largest magnitude of `exact`, at least 1. `order`: of the
    gradient; `dtype`: what results on the way were rounded to, where it is not that of `actual`."""
    assert actual.shape == exact.shape
    assert actual.dtype == rounded.dtype
    found, allowed = compare(actual, rounded, exact, order=order, dtype=dtype)
    assert found <= allowed


def assert_minimally_filtered(actual: Tensor, exact: Tensor, *, order: int = 0) -> None:
    """`actual`: of minimal filtering, a gradient of `order`; `exact`: in float64."""
    assert actual.shape == exact.shape
    assert distance(actual, exact) <= (1 + order) * MINIMAL_FILTERING * exact.std().item()
