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
@pytest.mark.parametrize("filter", ["two_by_two", "separable"])
def test_every_resampling(resampling: str, filter: str) -> None:
    x = torch.randn(1, 2, 5, 7, dtype=torch.float64)
    taps = FILTERS[filter]
    run_three_ways(x, taps, flip_filter=filter == "separable", **options(resampling, taps))


@pytest.mark.parametrize("filter", [name for name in FILTERS if name != "separable_64"])
def test_every_filter(filter: str) -> None:
    x = torch.randn(1, 2, 5, 7)
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
    run_three_ways(x, FILTERS["binomial"], gain=4.0, **options(resampling))


@pytest.mark.parametrize("shape", [name for name in cases.IMAGE_SHAPES if "many" not in name])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "expanded"])
def test_every_shape_and_layout(shape: str, layout: str) -> None:
    x = cases.images(shape, layout, torch.float32)
    y = ops.upsample2d(x, FILTERS["two_by_two"], backend="triton")
    expected = ops.upsample2d(x, FILTERS["two_by_two"], backend="reference")
    torch.testing.assert_close(y, expected)
    assert cases.same_layout(y, expected)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "strided"])
@pytest.mark.parametrize("resampling", ["same", "up2", "down2", "crop_down"])
def test_many_ragged_programs(layout: str, resampling: str, small_tiles: None) -> None:
    x = cases.LAYOUTS[layout](torch.randn(2, 3, 5, 9))
    taps, settings = FILTERS["two_by_two"], options(resampling)
    y = ops.upfirdn2d(x, taps, backend="triton", **settings)
    torch.testing.assert_close(y, reference.upfirdn2d(x, taps, **settings))


def test_opcheck() -> None:
    x = torch.randn(2, 3, 5, 4, requires_grad=True)
    arguments = (x, FILTERS["two_by_two"], [2, 1], [1, 2], [1, 0, -1, 2], False, 1.3, "triton")
    torch.library.opcheck(torch.ops.fastgan.upfirdn2d, arguments)
