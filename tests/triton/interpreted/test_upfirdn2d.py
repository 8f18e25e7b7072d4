"""upfirdn2d on Triton's interpreter against the specification, in value and both gradients."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from fastgan import ops, reference
from tests import cases
from tests.cases_upfirdn2d import FILTERS, RESAMPLINGS, options
from tests.tolerances import DTYPES, assert_close_to_exact


def run_three_ways(x: Tensor, filter: Tensor | None, **settings: Any) -> None:
    """Value and first and second gradients of (upfirdn2d x)^2 against the specification."""
    shape = reference.upfirdn2d(x, filter, **settings).shape
    weights = torch.randn(shape, dtype=torch.float64)
    directions = torch.randn(x.shape, dtype=torch.float64)

    def everything(function: Any, dtype: torch.dtype) -> list[Tensor]:
        leaf = x.detach().to(dtype).requires_grad_()
        y = function(leaf, filter, **settings)
        (first,) = torch.autograd.grad(y * y, leaf, weights.to(dtype), create_graph=True)
        (second,) = torch.autograd.grad(first, leaf, directions.to(dtype))
        return [y, first, second]

    actual = everything(partial(ops.upfirdn2d, backend="triton"), x.dtype)
    rounded = everything(reference.upfirdn2d, x.dtype)
    exact = everything(reference.upfirdn2d, torch.float64)
    for one, two, three in zip(actual, rounded, exact, strict=True):
        assert_close_to_exact(one, two, three)


@pytest.mark.parametrize("resampling", list(RESAMPLINGS))
def test_every_resampling(resampling: str) -> None:
    x = torch.randn(1, 2, 5, 7, dtype=torch.float64)
    run_three_ways(x, FILTERS["two_by_two"], **options(resampling))


@pytest.mark.parametrize("resampling", ["same", "up_x_down_y"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_separable_filters(resampling: str, layout: str) -> None:
    x = cases.LAYOUTS[layout](torch.randn(1, 2, 5, 7))
    run_three_ways(x, FILTERS["separable"], flip_filter=True, gain=2.0, **options(resampling))


@pytest.mark.parametrize(
    "filter",
    ["identity", "one_tap", "row", "column", "outer", "full", "full_large", "separable_12"],
)
def test_every_filter(filter: str) -> None:
    x = torch.randn(1, 1, 5, 7)
    taps = FILTERS[filter]
    settings = options("up_x_down_y", taps)
    y = ops.upfirdn2d(x, taps, gain=1.7, backend="triton", **settings)
    rounded = reference.upfirdn2d(x, taps, gain=1.7, **settings)
    exact = reference.upfirdn2d(x.double(), taps, gain=1.7, **settings)
    assert_close_to_exact(y, rounded, exact)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("resampling", ["up2", "down2"])
def test_every_dtype(dtype: torch.dtype, resampling: str) -> None:
    x = cases.images("small", "channels_last", dtype)
    run_three_ways(x, FILTERS["two_by_two"], gain=4.0, **options(resampling))


# A filter does not fit into an image without rows, which the op refuses.
SHAPES = ["one_pixel", "row", "column", "wide", "empty_batch"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "expanded"])
def test_every_shape_and_layout(shape: str, layout: str) -> None:
    x = cases.images(shape, layout, torch.float32)
    y = ops.upsample2d(x, FILTERS["two_by_two"], backend="triton")
    expected = ops.upsample2d(x, FILTERS["two_by_two"], backend="reference")
    torch.testing.assert_close(y, expected)
    assert cases.same_layout(y, expected)


@pytest.mark.parametrize(
    ("layout", "resampling"),
    [
        ("contiguous", "up2"),
        ("contiguous", "down2"),
        ("channels_last", "up2"),
        ("channels_last", "crop_down"),
        ("strided", "same"),
    ],
)
def test_many_ragged_programs(layout: str, resampling: str, small_tiles: None) -> None:
    x = cases.LAYOUTS[layout](torch.randn(2, 3, 5, 9))
    taps, settings = FILTERS["two_by_two"], options(resampling)
    y = ops.upfirdn2d(x, taps, backend="triton", **settings)
    torch.testing.assert_close(y, reference.upfirdn2d(x, taps, **settings))


def test_opcheck() -> None:
    x = torch.randn(2, 3, 5, 4, requires_grad=True)
    arguments = (x, FILTERS["two_by_two"], [2, 1], [1, 2], [1, 0, -1, 2], False, 1.3, "triton")
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.fastgan.upfirdn2d, arguments, test_utils=checks)
