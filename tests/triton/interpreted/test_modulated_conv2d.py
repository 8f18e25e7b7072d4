"""modulated_conv2d on Triton's interpreter: its two kernels through the public op, in value and
both gradients; the convolution between them is torch's."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from fastgan import ops, reference
from tests import cases
from tests.tolerances import DTYPES, assert_close_to_exact


def run_three_ways(x: Tensor, with_noise: bool) -> None:
    """Value and first and second gradients in x, weight, styles and noise."""
    samples, channels, height, width = x.shape
    sizes = [(4, channels, 3, 3), (samples, channels), (samples, 1, height, width)]
    rest = [torch.randn(size, dtype=torch.float64) for size in sizes[: 2 + with_noise]]
    g = torch.randn(samples, 4, height, width, dtype=torch.float64)

    def everything(function: Any, dtype: torch.dtype, padding: Any) -> list[Tensor]:
        leaves = [
            t.detach().to(dtype).requires_grad_() for t in (x, *(t.to(x.dtype) for t in rest))
        ]
        noise = leaves[3] if with_noise else None
        y = function(*leaves[:3], noise=noise, padding=padding)
        upstream = g.to(dtype).requires_grad_()
        first = torch.autograd.grad(y, leaves, upstream, create_graph=True)
        onward = [value.detach() for value in first]
        second = torch.autograd.grad(first, [*leaves[:3], upstream], onward)
        return [y, *first, *second]

    actual = everything(partial(ops.modulated_conv2d, backend="triton"), x.dtype, 1)
    rounded = everything(reference.modulated_conv2d, x.dtype, (1, 1, 1, 1))
    exact = everything(reference.modulated_conv2d, torch.float64, (1, 1, 1, 1))
    for one, two, three in zip(actual, rounded, exact, strict=True):
        assert_close_to_exact(one, two, three)


@pytest.mark.parametrize(
    ("dtype", "layout", "with_noise"),
    [
        (torch.float64, "contiguous", True),
        (torch.float32, "contiguous", False),
        (torch.float32, "channels_last", True),
        (torch.float64, "strided", False),
    ],
)
def test_value_and_gradients(dtype: torch.dtype, layout: str, with_noise: bool) -> None:
    run_three_ways(cases.images("small", layout, dtype), with_noise)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_value_and_gradients(dtype: torch.dtype) -> None:
    run_three_ways(cases.images("small", "contiguous", dtype), True)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("with_noise", [True, False])
def test_many_ragged_programs(layout: str, with_noise: bool, small_tiles: None) -> None:
    run_three_ways(cases.LAYOUTS[layout](torch.randn(2, 5, 3, 4)), with_noise)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", ["one_pixel", "many_channels", "empty_batch"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_the_scale_and_its_gradient(dtype: torch.dtype, shape: str, layout: str) -> None:
    """The kernels by themselves: half-precision images with float32 scale and noise."""
    x = cases.images(shape, layout, dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    scale = torch.randn(x.shape[:2], dtype=wide).requires_grad_()
    noise = torch.randn(x.shape[0], 1, *x.shape[2:], dtype=wide).requires_grad_()
    leaf = x.detach().requires_grad_()
    inputs = (leaf, scale, noise)
    y = torch.ops.fastgan.modulated_conv2d_scale(*inputs, "triton")
    upstream = torch.randn(x.shape).to(dtype)
    actual = (y, *torch.autograd.grad(y, inputs, upstream))

    def expected(dtype: torch.dtype, rounded: torch.dtype) -> list[Tensor]:
        a, s, n, g = (t.detach().to(dtype) for t in (x, scale, noise, upstream))
        s = s[:, :, None, None]
        sums = (g * a).sum((2, 3)), g.sum(1, keepdim=True)
        return [(a * s + n).to(rounded), (g * s).to(rounded), *sums]

    three = zip(actual, expected(wide, dtype), expected(torch.float64, torch.float64), strict=True)
    for one, two, exact in three:
        assert_close_to_exact(one, two, exact)


def test_opcheck() -> None:
    x, scale = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    noise = torch.randn(2, 1, 4, 4, requires_grad=True)
    arguments, checks = (x, scale, noise, "triton"), ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.fastgan.modulated_conv2d_scale, arguments, test_utils=checks)
