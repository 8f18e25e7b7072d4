"""conv2d_resample and modulated_conv2d with resampling: the composition runs on the interpreted
upfirdn2d, forward and backward."""

from functools import partial
from typing import Any

import pytest
import torch

from fastgan import ops, reference
from tests.cases_upfirdn2d import FILTERS

FACTORS: dict[str, dict[str, int]] = {"up": {"up": 2}, "down": {"down": 2}}


@pytest.mark.parametrize("factor", list(FACTORS))
def test_conv2d_resample(factor: str) -> None:
    x, weight = torch.randn(1, 2, 6, 4), torch.randn(3, 2, 3, 3)
    compare(ops.conv2d_resample, reference.conv2d_resample, [x, weight], factor, "filter")


@pytest.mark.parametrize("factor", list(FACTORS))
def test_modulated_conv2d(factor: str) -> None:
    inputs = [torch.randn(1, 2, 6, 4), torch.randn(3, 2, 3, 3), torch.randn(1, 2)]
    name = "resample_filter"
    compare(ops.modulated_conv2d, reference.modulated_conv2d, inputs, factor, name)


def compare(
    op: Any, specification: Any, inputs: list[torch.Tensor], factor: str, name: str
) -> None:
    """Value and first and second gradients of the two, in float64."""
    upstream: list[torch.Tensor] = []

    def everything(function: Any, padding: Any) -> list[torch.Tensor]:
        leaves = [tensor.double().requires_grad_() for tensor in inputs]
        settings = {**FACTORS[factor], name: FILTERS["two_by_two"], "padding": padding}
        y = function(*leaves, **settings)
        first = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
        upstream.extend(torch.randn_like(value) for value in first[len(upstream) :])
        return [y, *first, *torch.autograd.grad(first, leaves, upstream)]

    expected = everything(specification, (1, 1, 1, 1))
    for one, two in zip(everything(partial(op, backend="triton"), 1), expected, strict=True):
        torch.testing.assert_close(one, two)
