"""upfirdn2d: gradients of every order, opcheck and torch.compile, on every backend."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from fastgan import ops, reference
from tests import cases
from tests.cases_upfirdn2d import FILTERS, RESAMPLINGS, options

NEAR = [name for name in RESAMPLINGS if name != "far_padding"]


@pytest.mark.parametrize(
    ("name", "filter"),
    [*((name, "full") for name in NEAR), ("up2", "binomial"), ("down2", "separable")],
)
def test_gradients_to_second_order(name: str, filter: str, kernel_backend: str) -> None:
    x = torch.randn(1, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    function = partial(
        ops.upfirdn2d, filter=FILTERS[filter], flip_filter=len(name) % 2 == 0, gain=0.8,
        backend=kernel_backend, **options(name),
    )  # fmt: skip
    assert gradcheck(function, (x,))
    assert gradgradcheck(function, (x,))


@pytest.mark.parametrize("name", ["up2", "down2", "up3_down2", "crop_down"])
def test_third_order_matches_reference(name: str, kernel_backend: str) -> None:
    def derivatives(function: Any) -> list[Tensor]:
        x = cases.away_from_zero(1, 2, 5, 6)
        value, found = x, []
        for _ in range(3):
            y = function(value, FILTERS["full"], **options(name))
            (value,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
            value = value / value.detach().abs().max()
            found.append(value)
        return found

    kernel = derivatives(partial(ops.upfirdn2d, backend=kernel_backend))
    for one, two in zip(kernel, derivatives(reference.upfirdn2d), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("name", list(RESAMPLINGS))
@pytest.mark.parametrize("filter", ["identity", "binomial", "full_large", "separable_12"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_float32_gradients_match_reference(
    name: str, filter: str, layout: str, kernel_backend: str
) -> None:
    f = FILTERS[filter]
    x = cases.images("small", layout, torch.float32).requires_grad_()
    settings = options(name, f)
    y = ops.upfirdn2d(x, f, backend=kernel_backend, **settings)
    upstream = torch.randn_like(y)
    (actual,) = torch.autograd.grad(y, x, upstream)
    (expected,) = torch.autograd.grad(reference.upfirdn2d(x, f, **settings), x, upstream)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    assert cases.same_layout(actual, x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_gradients_are_those_of_float32_rounded_once(
    dtype: torch.dtype, kernel_backend: str
) -> None:
    x = torch.randn(2, 3, 8, 9).to(dtype).requires_grad_()
    up2 = partial(ops.upsample2d, filter=FILTERS["binomial"], backend=kernel_backend)
    y = up2(x)
    upstream = torch.randn(y.shape).to(dtype)
    (actual,) = torch.autograd.grad(y, x, upstream)
    wide = x.detach().float().requires_grad_()
    (expected,) = torch.autograd.grad(up2(wide), wide, upstream.float())
    assert torch.equal(actual, expected.to(dtype))


def test_gradient_of_a_sum_needs_no_dense_upstream(kernel_backend: str) -> None:
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    f = FILTERS["binomial"]
    (actual,) = torch.autograd.grad(ops.downsample2d(x, f, backend=kernel_backend).sum(), x)
    (expected,) = torch.autograd.grad(ops.downsample2d(x, f, backend="reference").sum(), x)
    torch.testing.assert_close(actual, expected)


def test_filter_is_a_constant(backend: str) -> None:
    x, f = torch.randn(1, 1, 4, 4), torch.ones(2, 2, requires_grad=True)
    assert not ops.upfirdn2d(x, f, backend=backend).requires_grad
    y = ops.upfirdn2d(x.requires_grad_(), f, backend=backend)
    y.sum().backward()
    assert f.grad is None
    assert x.grad is not None


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4), (2, 0, 4, 4)])
def test_empty_images_have_empty_gradients(shape: tuple[int, ...], backend: str) -> None:
    x = torch.zeros(shape, requires_grad=True)
    ops.upfirdn2d(x, FILTERS["binomial"], up=2, padding=3, backend=backend).sum().backward()
    assert x.grad is not None
    assert x.grad.shape == shape


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("name", ["up2", "crop_down"])
def test_opcheck(layout: str, name: str, kernel_backend: str) -> None:
    x = cases.images("small", layout, torch.float32).requires_grad_()
    up, down, padding = RESAMPLINGS[name]
    arguments = (x, FILTERS["binomial"], up, down, padding, False, 1.5, kernel_backend)
    torch.library.opcheck(torch.ops.fastgan.upfirdn2d, arguments)


def test_compiles_forward_and_backward(kernel_backend: str) -> None:
    f = FILTERS["binomial"]

    def loss(x: Tensor) -> Tensor:
        y = ops.upsample2d(x * 2, f, backend=kernel_backend)
        return ops.downsample2d(y.sin(), f, down=[1, 2], backend=kernel_backend).square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 3, 4, 5, requires_grad=True)
    (expected,) = torch.autograd.grad(loss(x), x)
    (actual,) = torch.autograd.grad(compiled(x), x)
    torch.testing.assert_close(actual, expected)
