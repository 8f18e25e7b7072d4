"""The fused modulated convolution on Triton's interpreter against the specification: values of the
op in every variant, gradients to second order."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from fastgan import ops
from tests import cases
from tests.cases_modulated_conv2d import LAYERS, LRELU, SWISH, TAPS, arguments, specification
from tests.tolerances import DTYPES, assert_close_to_exact


def fused(values: Any, activation: tuple[str, float, float, float], layer: dict[str, Any],
          allow_tf32: bool = False) -> Tensor:  # fmt: skip
    taps = TAPS if layer["up"] == 2 else None
    y: Tensor = torch.ops.fastgan.modulated_conv2d_fused(
        *values, taps, layer["up"], layer["padding"], *activation, allow_tf32, "triton"
    )
    return y


def compare(values: list[Tensor | None], activation: Any, name: str) -> Tensor:
    y = fused(values, activation, LAYERS[name][1])
    rounded = specification(*values, activation, LAYERS[name][1])  # type: ignore[arg-type]
    wide = [None if value is None else value.double() for value in values]
    exact = specification(*wide, activation, LAYERS[name][1])  # type: ignore[arg-type]
    assert_close_to_exact(y, rounded, exact)
    return y


SHAPE = (2, 3, 3, 4)
VALUES = [
    *((name, dtype, "channels_last") for name in ("plain", "rgb", "up") for dtype in DTYPES),
    *((name, torch.float32, layout) for name in LAYERS for layout in ("contiguous", "strided")),
    ("uneven", torch.float16, "channels_last"),
    ("up", torch.bfloat16, "contiguous"),
]


@pytest.mark.parametrize(("name", "dtype", "layout"), VALUES)
def test_values(name: str, dtype: torch.dtype, layout: str) -> None:
    x = cases.LAYOUTS[layout](torch.randn(SHAPE).to(dtype))
    y = compare(arguments(name, x), LRELU, name)
    assert y.is_contiguous() == (layout != "channels_last")


@pytest.mark.parametrize("extras", ["", "out_scale", "one_noise", "noise bias"])
@pytest.mark.parametrize("name", ["plain", "rgb", "up"])
def test_what_may_be_left_out(name: str, extras: str) -> None:
    compare(arguments(name, torch.randn(SHAPE), extras), SWISH, name)


@pytest.mark.parametrize("name", ["plain", "rgb", "up"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_many_ragged_programs(name: str, layout: str, small_tiles: None) -> None:
    x = cases.LAYOUTS[layout](torch.randn(2, 3 if name == "up" else 18, 4, 5))
    values = arguments(name, x)
    if name == "plain":
        values[1], values[3], values[5] = torch.randn(17, 18, 3, 3), torch.randn(2, 17), None
    compare(values, LRELU, name)


@pytest.mark.parametrize("shape", ["one_pixel", "empty_batch"])
@pytest.mark.parametrize("name", ["plain", "rgb", "up"])
def test_small_shapes(shape: str, name: str) -> None:
    compare(arguments(name, cases.images(shape, "strided", torch.float32)), LRELU, name)


def test_gradcheck_and_gradgradcheck() -> None:
    """For the smallest layer: tests/ops checks the formulas in every other."""
    values = arguments("rgb", torch.randn(1, 2, 2, 2, dtype=torch.float64))
    inputs = [value.requires_grad_() for value in values if value is not None]

    def function(*values: Tensor) -> Tensor:
        return fused(values, LRELU, LAYERS["rgb"][1])

    assert gradcheck(function, inputs, fast_mode=True)
    assert gradgradcheck(function, inputs, fast_mode=True, check_undefined_grad=False)


LAYER = {"padding": 1, "act": "lrelu", "clamp": 1.5}
NETWORK_LAYERS: dict[str, dict[str, Any]] = {
    "plain": LAYER,
    "up": LAYER | {"up": 2, "resample_filter": ops.setup_filter([1, 3, 3, 1])},
}


@pytest.mark.parametrize(
    ("layer", "penalty", "dtype"),
    [
        ("plain", "r1", torch.float64),
        ("plain", "path_length", torch.float16),
        ("up", "r1", torch.float16),
        ("up", "path_length", torch.float64),
    ],
)
def test_penalties_of_gradients(layer: str, penalty: str, dtype: torch.dtype) -> None:
    """The squared gradient in x (R1) or in the styles (path length), and its own gradients."""
    shapes = [(2, 3, 2, 3), (4, 3, 3, 3), (2, 3), (4,)]
    drawn = [torch.randn(shape) for shape in shapes]
    drawn[0] = drawn[0].to(dtype).float()

    def everything(backend: str, low: torch.dtype, high: torch.dtype) -> list[Tensor]:
        x, weight, styles, bias = (
            value.to(low if index == 0 else high).requires_grad_()
            for index, value in enumerate(drawn)
        )
        settings = {**NETWORK_LAYERS[layer], "bias": bias, "backend": backend}
        y = ops.modulated_conv2d(x, weight, styles, **settings)
        along = x if penalty == "r1" else styles
        (first,) = torch.autograd.grad(y.to(high).sin().sum(), along, create_graph=True)
        loss = first.to(high).square().sum()
        return [y, first, *torch.autograd.grad(loss, [x, weight, styles])]

    wide = torch.float64 if dtype == torch.float64 else torch.float32
    three = zip(
        everything("triton", dtype, wide),
        everything("reference", dtype, wide),
        everything("reference", torch.float64, torch.float64),
        strict=True,
    )
    for one, two, exact in three:
        # Sums over half-precision images are float32 in form and half precision in accuracy.
        assert_close_to_exact(one.to(dtype), two.to(dtype), exact)


def test_a_filter_that_is_no_outer_product_is_composed() -> None:
    x, weight, styles = torch.randn(1, 2, 2, 2), torch.randn(3, 2, 3, 3), torch.randn(1, 2)
    filter = torch.rand(4, 4)
    y, expected = (
        ops.modulated_conv2d(
            x, weight, styles, up=2, padding=1, resample_filter=filter, act="relu", backend=backend
        )
        for backend in ("triton", "reference")
    )
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("name", ["plain", "up"])
def test_opcheck(name: str) -> None:
    values = arguments(name, cases.LAYOUTS["channels_last"](torch.randn(1, 2, 2, 2)))
    layer = LAYERS[name][1]
    call = (*values, TAPS if name == "up" else None, layer["up"], layer["padding"], *LRELU, False)
    checks = ("test_schema", "test_faketensor")
    op = torch.ops.fastgan.modulated_conv2d_fused
    torch.library.opcheck(op, (*call, "triton"), test_utils=checks)
