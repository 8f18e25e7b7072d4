"""modulated_conv2d: every backend against the specification, in value and gradients."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from fastgan import ops, reference
from tests import cases
from tests.tolerances import DTYPES, assert_close_to_exact

TAPS = ops.setup_filter([1, 3, 3, 1])
LAYERS: dict[str, dict[str, Any]] = {
    "plain": {"padding": 1},
    "up": {"up": 2, "padding": 1, "resample_filter": TAPS, "flip_weight": False},
    "down": {"down": 2, "padding": 1, "resample_filter": TAPS},
    "rgb": {"demodulate": False},
}


def _arguments(
    layer: str, dtype: torch.dtype = torch.float64, x: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    size = 1 if layer == "rgb" else 3
    x = cases.images("small", "contiguous", dtype) if x is None else x
    weight = torch.randn(4, x.shape[1], size, size, dtype=torch.float64)
    styles = torch.randn(x.shape[0], x.shape[1], dtype=torch.float64)
    return x, weight.to(dtype), styles.to(dtype)


def _reference(
    x: Tensor, weight: Tensor, styles: Tensor, noise: Tensor | None, layer: str
) -> Tensor:
    options = LAYERS[layer] | {"padding": (LAYERS[layer].get("padding", 0),) * 4}
    return reference.modulated_conv2d(x, weight, styles, noise=noise, **options)


def _noise(layer: str, x: Tensor, dtype: torch.dtype) -> Tensor:
    shape = _reference(*_arguments(layer, x=x.double()), None, layer).shape
    return torch.randn(shape[0], 1, *shape[2:]).to(dtype)


@pytest.mark.parametrize("layer", list(LAYERS))
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("with_noise", [True, False])
def test_matches_reference(
    layer: str, dtype: torch.dtype, with_noise: bool, kernel_backend: str
) -> None:
    x, weight, styles = _arguments(layer, dtype)
    noise = _noise(layer, x, dtype) if with_noise else None
    y = ops.modulated_conv2d(
        x, weight, styles, noise=noise, backend=kernel_backend, **LAYERS[layer]
    )
    exact_noise = None if noise is None else noise.double()
    exact = _reference(x.double(), weight.double(), styles.double(), exact_noise, layer)
    assert_close_to_exact(y, _reference(x, weight, styles, noise, layer), exact)


@pytest.mark.parametrize("shape", list(cases.IMAGE_SHAPES))
@pytest.mark.parametrize("layout", list(cases.LAYOUTS))
def test_every_shape_and_layout(shape: str, layout: str, kernel_backend: str) -> None:
    x = cases.images(shape, layout, torch.float64).requires_grad_()
    if x.shape[2] == 0:
        pytest.skip("torch's convolution takes no image without rows")
    _, weight, styles = (t.requires_grad_() for t in _arguments("plain", x=x.detach()))
    noise = _noise("plain", x, torch.float64).requires_grad_()
    y = ops.modulated_conv2d(x, weight, styles, noise=noise, padding=1, backend=kernel_backend)
    expected = _reference(x, weight, styles, noise, "plain")
    torch.testing.assert_close(y, expected)
    upstream = torch.randn_like(expected)
    inputs = (x, weight, styles, noise)
    for one, two in zip(
        torch.autograd.grad(y, inputs, upstream),
        torch.autograd.grad(expected, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("layer", list(LAYERS))
def test_gradients_to_second_order(layer: str, backend: str) -> None:
    x = cases.away_from_zero(2, 2, 3, 3)
    weight = cases.away_from_zero(2, 2, *((1, 1) if layer == "rgb" else (3, 3)), seed=1)
    styles = cases.away_from_zero(2, 2, seed=2)
    noise = _noise(layer, x.detach(), torch.float64).requires_grad_()

    def function(x: Tensor, weight: Tensor, styles: Tensor, noise: Tensor) -> Tensor:
        return ops.modulated_conv2d(
            x, weight, styles, noise=noise, backend=backend, **LAYERS[layer]
        )

    assert gradcheck(function, (x, weight, styles, noise))
    assert gradgradcheck(function, (x, weight, styles, noise))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_gradients_match_reference_in_low_precision(
    dtype: torch.dtype, layout: str, kernel_backend: str
) -> None:
    x = cases.images("small", layout, dtype)
    weight, styles = torch.randn(4, 3, 3, 3), torch.randn(2, 3)
    upstream = torch.randn(2, 4, 5, 7)

    def gradients(function: Any, low: torch.dtype, high: torch.dtype) -> tuple[Tensor, ...]:
        inputs = [x.to(low), weight.to(high), styles.to(high)]
        inputs = [t.detach().requires_grad_() for t in inputs]
        y = function(*inputs, padding=(1, 1, 1, 1))
        return torch.autograd.grad(y, inputs, upstream.to(low))

    kernel = partial(ops.modulated_conv2d, backend=kernel_backend)
    actual = gradients(kernel, dtype, torch.float32)
    rounded = gradients(reference.modulated_conv2d, dtype, torch.float32)
    exact = gradients(reference.modulated_conv2d, torch.float64, torch.float64)
    for one, two, three in zip(actual, rounded, exact, strict=True):
        assert_close_to_exact(one, two, three, order=1, dtype=dtype)


@pytest.mark.parametrize("shape", ["(2, 1, 5, 7)", "(1, 1, 5, 7)", "(5, 7)", "(1, 4, 1, 1)", "()"])
def test_noise_broadcasts(shape: str, kernel_backend: str) -> None:
    size = tuple(int(part) for part in shape.strip("()").split(",") if part.strip())
    x, weight, styles = _arguments("plain")
    noise = torch.randn(size, dtype=torch.float64, requires_grad=True)
    y = ops.modulated_conv2d(x, weight, styles, noise=noise, padding=1, backend=kernel_backend)
    expected = _reference(x, weight, styles, noise, "plain")
    torch.testing.assert_close(y, expected)
    upstream = torch.randn_like(y)
    torch.testing.assert_close(
        torch.autograd.grad(y, noise, upstream), torch.autograd.grad(expected, noise, upstream)
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_every_instruction_set(dtype: torch.dtype, layout: str, cpu_capability: str) -> None:
    x = cases.images("wide", layout, dtype).requires_grad_()
    acc = torch.float64 if dtype == torch.float64 else torch.float32
    scale = torch.randn(1, 2, dtype=acc, requires_grad=True)
    noise = torch.randn(1, 1, 9, 131, dtype=acc, requires_grad=True)
    y = torch.ops.fastgan.modulated_conv2d_scale(x, scale, noise, "cpp")
    exact = x.double() * scale.double()[:, :, None, None] + noise.double()
    assert_close_to_exact(y, exact.to(dtype), exact)
    upstream = torch.randn_like(y)
    actual = torch.autograd.grad(y, (x, scale, noise), upstream)
    for one, two in zip(
        actual, torch.autograd.grad(exact, (x, scale, noise), upstream.double()), strict=True
    ):
        assert_close_to_exact(one, two, two.double())


def test_threads_give_the_same_bits(kernel_backend: str, two_threads: None) -> None:
    x = torch.randn(3, 5, 67, 71)
    grad, scale = torch.randn_like(x), torch.randn(3, 5)
    run = partial(torch.ops.fastgan.modulated_conv2d_scale_grad, grad, x, scale, True)
    many = run(kernel_backend)
    torch.set_num_threads(1)
    assert all(torch.equal(one, two) for one, two in zip(run(kernel_backend), many, strict=True))


def test_opcheck(kernel_backend: str) -> None:
    x, scale = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    noise = torch.randn(2, 1, 4, 4, requires_grad=True)
    grad = torch.randn(2, 3, 4, 4, requires_grad=True)
    names = torch.ops.fastgan
    torch.library.opcheck(names.modulated_conv2d_scale, (x, scale, noise, kernel_backend))
    torch.library.opcheck(names.modulated_conv2d_scale, (x, scale, None, kernel_backend))
    torch.library.opcheck(names.modulated_conv2d_scale_grad, (grad, x, scale, True, kernel_backend))


def test_compiles_forward_and_backward(kernel_backend: str) -> None:
    inputs = [t.float().requires_grad_() for t in _arguments("up")]

    def loss(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
        y = ops.modulated_conv2d(x, weight, styles, backend=kernel_backend, **LAYERS["up"])
        return y.square().sum()

    expected = torch.autograd.grad(loss(*inputs), inputs)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for one, two in zip(torch.autograd.grad(compiled(*inputs), inputs), expected, strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"styles": torch.zeros(2, 4)}, ValueError, r"styles \[2, 3\]"),
        ({"weight": torch.zeros(4, 2, 3, 3)}, ValueError, r"weight \[C_out, 3, kh, kw\]"),
        ({"x": torch.zeros(2, 3, 4)}, ValueError, "x must have 4 dimensions"),
        ({"x": torch.zeros(2, 3, 4, 4).int()}, TypeError, "x must be floating point"),
    ],
)
def test_wrong_arguments_say_what_was_expected(
    change: dict[str, Any], error: type[Exception], message: str, backend: str
) -> None:
    arguments = {
        "x": torch.zeros(2, 3, 4, 4),
        "weight": torch.zeros(4, 3, 3, 3),
        "styles": torch.zeros(2, 3),
    }
    with pytest.raises(error, match=message):
        ops.modulated_conv2d(**(arguments | change), backend=backend)
