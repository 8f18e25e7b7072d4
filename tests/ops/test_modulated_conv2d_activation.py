"""modulated_conv2d with bias, activation, gain and clamp: every backend against bias_act of the
plain call, in value and gradients."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from fastgan import ops, reference
from tests import cases
from tests.tolerances import DTYPES, assert_close_to_exact

TAPS = ops.setup_filter([1, 3, 3, 1])
PLAIN: dict[str, Any] = {"padding": 1}
UP: dict[str, Any] = {"up": 2, "padding": 1, "resample_filter": TAPS, "flip_weight": False}
EPILOGUES: dict[str, dict[str, Any]] = {
    "lrelu_clamp": {"act": "lrelu", "gain": 1.3, "clamp": 1.1},
    "slope": {"act": "lrelu", "alpha": 0.4},
    "swish": {"act": "swish"},
    "linear_gain": {"act": "linear", "gain": 0.7},
    "linear_clamp": {"clamp": 0.6},
}


def _inputs(dtype: torch.dtype) -> list[Tensor]:
    x = cases.images("small", "contiguous", dtype)
    rest = (torch.randn(4, 3, 3, 3), torch.randn(2, 3), torch.randn(4))
    return [x, *(value.to(dtype) for value in rest)]


@pytest.mark.parametrize("epilogue", list(EPILOGUES))
@pytest.mark.parametrize("layer", [PLAIN, UP], ids=["plain", "up"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equals_the_activation_of_the_plain_call(
    epilogue: str, layer: dict[str, Any], dtype: torch.dtype, backend: str
) -> None:
    x, weight, styles, bias = _inputs(dtype)
    noise = torch.randn(2, 1, 5 * layer.get("up", 1), 7 * layer.get("up", 1))
    settings = {**layer, **EPILOGUES[epilogue]}
    y = ops.modulated_conv2d(x, weight, styles, noise=noise, bias=bias, backend=backend, **settings)

    def expected(dtype: torch.dtype) -> Tensor:
        a, w, s, n, b = (t.to(dtype) for t in (x, weight, styles, noise, bias))
        plain = reference.modulated_conv2d(a, w, s, noise=n, **(layer | {"padding": (1,) * 4}))
        return reference.bias_act(plain, b, **{"act": "linear", **EPILOGUES[epilogue]})

    assert_close_to_exact(y, expected(dtype), expected(torch.float64))


@pytest.mark.parametrize("epilogue", ["lrelu_clamp", "swish"])
@pytest.mark.parametrize("layer", [PLAIN, UP], ids=["plain", "up"])
def test_gradients_to_second_order(epilogue: str, layer: dict[str, Any], backend: str) -> None:
    shapes = [(1, 2, 3, 3), (2, 2, 3, 3), (1, 2), (2,)]
    inputs = [cases.away_from_zero(*shape, seed=seed) for seed, shape in enumerate(shapes)]

    def function(x: Tensor, weight: Tensor, styles: Tensor, bias: Tensor) -> Tensor:
        settings = {**layer, **EPILOGUES[epilogue]}
        return ops.modulated_conv2d(x, weight, styles, bias=bias, backend=backend, **settings)

    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


def test_a_float32_bias_serves_half_precision(backend: str) -> None:
    x, weight, styles, bias = _inputs(torch.float16)
    wide = bias.float().requires_grad_()
    y = ops.modulated_conv2d(x, weight, styles, bias=wide, padding=1, backend=backend)
    narrow = ops.modulated_conv2d(x, weight, styles, bias=bias, padding=1, backend=backend)
    assert torch.equal(y, narrow)
    (grad,) = torch.autograd.grad(y.float().square().sum(), wide)
    assert grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"act": "gelu"}, ValueError, "act must be one of"),
        ({"clamp": -1.0}, ValueError, "clamp must be at least 0"),
        ({"bias": torch.zeros(3)}, ValueError, r"bias must have shape \[4\]"),
        ({"bias": torch.zeros(4).int()}, TypeError, "bias must be floating point"),
    ],
)
def test_wrong_arguments_say_what_was_expected(
    settings: dict[str, Any], error: type[Exception], message: str, backend: str
) -> None:
    x, weight, styles, _ = _inputs(torch.float32)
    with pytest.raises(error, match=f"modulated_conv2d: {message}"):
        ops.modulated_conv2d(x, weight, styles, backend=backend, **settings)


@pytest.mark.parametrize("demodulate", [True, False])
def test_autocast_changes_nothing(backend, demodulate):
    x, weight = torch.randn(2, 4, 8, 8), torch.randn(6, 4, 3, 3, requires_grad=True)
    styles, bias = torch.randn(2, 4, requires_grad=True), torch.randn(6, requires_grad=True)
    leaves = (weight, styles, bias)
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = ops.modulated_conv2d(
                x, weight, styles, bias=bias, act="lrelu", padding=1, demodulate=demodulate,
                backend=backend,
            )  # fmt: skip
        found.append([y, *torch.autograd.grad(y.square().sum(), leaves)])
    for plain, cast in zip(*found, strict=True):
        assert cast.dtype == torch.float32
        torch.testing.assert_close(cast, plain)
