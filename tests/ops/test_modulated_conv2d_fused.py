"""The gradients of the fused op, whose formulas are the same for every backend: here the kernel
itself is computed by the reference, so that they are checked in full on any machine."""

from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from fastgan import ops
from fastgan.dispatch import registry
from tests import cases
from tests.cases_modulated_conv2d import LAYERS, LRELU, SWISH, TAPS, arguments, specification

LINEAR, NEGATIVE = ("linear", 0.0, 0.7, -1.0), ("lrelu", 0.3, -1.2, 0.9)


def _kernel(
    x: Tensor, weight: Tensor, in_scale: Tensor, out_scale: Tensor | None, noise: Tensor | None,
    bias: Tensor | None, taps: Tensor | None, up: int, padding: list[int], act: str,
    alpha: float, gain: float, clamp: float, allow_tf32: bool,
) -> Tensor:  # fmt: skip
    """A kernel as a backend would have it."""
    layer = {"up": up, "padding": tuple(padding)}
    activation = (act, alpha, gain, clamp)
    filter = TAPS if taps is None else taps
    y = specification(x, weight, in_scale, out_scale, noise, bias, activation, layer, filter)
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return y.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


@pytest.fixture(autouse=True)
def _backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the C++ backend have that kernel."""
    reason = registry.backend("cpp").why_unavailable()
    if reason is not None:
        pytest.skip(reason)
    monkeypatch.setattr(
        "fastgan.ops.modulated_conv2d_fused.launcher", lambda kernel, backend: _kernel
    )
    # By its full name: in the package, the name stands for the function.
    module = import_module("fastgan.ops.modulated_conv2d")
    monkeypatch.setattr(module, "has_kernel", lambda kernel, backend: True)


def _call(values: Any, activation: Any, layer: dict[str, Any]) -> Tensor:
    taps = TAPS if layer["up"] == 2 else None
    y: Tensor = torch.ops.fastgan.modulated_conv2d_fused(
        *values, taps, layer["up"], layer["padding"], *activation, False, "cpp"
    )
    return y


def _leaves(name: str, *size: int) -> list[Tensor]:
    values = arguments(name, torch.randn(size, dtype=torch.float64))
    return [value.requires_grad_() for value in values if value is not None]


@pytest.mark.parametrize("name", ["plain", "uneven", "rgb", "up", "up_uneven"])
@pytest.mark.parametrize(
    "activation", [LRELU, SWISH, LINEAR, NEGATIVE], ids=["lrelu", "swish", "linear", "negative"]
)
def test_gradients_to_second_order(name: str, activation: Any) -> None:
    inputs = _leaves(name, 1, 2, 2, 3)

    def function(*values: Tensor) -> Tensor:
        return _call(values, activation, LAYERS[name][1])

    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize("name", ["plain", "up"])
@pytest.mark.parametrize("needed", range(6))
def test_each_gradient_by_itself(name: str, needed: int) -> None:
    """Gradients that nobody asks for are left out, which must not change the others."""
    layer = LAYERS[name][1]
    values = arguments(name, torch.randn(2, 3, 3, 4, dtype=torch.float64))
    leaf = values[needed]
    assert leaf is not None
    leaf.requires_grad_()
    expected = specification(*values, LRELU, layer)  # type: ignore[arg-type]
    upstream = torch.randn_like(expected)
    actual = torch.autograd.grad(_call(values, LRELU, layer), leaf, upstream)
    torch.testing.assert_close(actual, torch.autograd.grad(expected, leaf, upstream))


@pytest.mark.parametrize("extras", ["", "one_noise", "noise", "bias out_scale"])
@pytest.mark.parametrize("name", ["plain", "up"])
def test_gradients_without_what_may_be_left_out(name: str, extras: str) -> None:
    layer = LAYERS[name][1]
    values = arguments(name, torch.randn(2, 3, 3, 4, dtype=torch.float64), extras)
    inputs = [value.requires_grad_() for value in values if value is not None]
    expected = specification(*values, LRELU, layer)  # type: ignore[arg-type]
    upstream = torch.randn_like(expected)
    actual = torch.autograd.grad(_call(values, LRELU, layer), inputs, upstream)
    for one, two in zip(actual, torch.autograd.grad(expected, inputs, upstream), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("name", ["plain", "up"])
@pytest.mark.parametrize("activation", [LRELU, SWISH], ids=["lrelu", "swish"])
def test_opcheck(name: str, activation: Any) -> None:
    values, layer = _leaves(name, 2, 2, 3, 3), LAYERS[name][1]
    values[0] = cases.LAYOUTS["channels_last"](values[0].detach()).requires_grad_()
    taps = TAPS if name == "up" else None
    call = (*values, taps, layer["up"], layer["padding"], *activation, False, "cpp")
    torch.library.opcheck(torch.ops.fastgan.modulated_conv2d_fused, call)


@pytest.mark.parametrize(
    ("settings", "fused"),
    [
        ({}, True),
        ({"noise": torch.ones(6, 6)}, True),
        ({"noise": torch.ones(1, 4, 1, 1)}, False),  # a value per channel
        ({"down": 2}, False),
        ({"up": 2, "resample_filter": ops.setup_filter([1, 3, 3, 1])}, True),
        ({"up": 2, "resample_filter": ops.setup_filter([1, 2, 1])}, False),
        ({"up": 2, "resample_filter": torch.rand(4, 4)}, False),
        ({"up": 2}, False),
        ({"up": 3, "resample_filter": ops.setup_filter([1, 3, 3, 1])}, False),
    ],
    ids=["plain", "plane of noise", "noise per channel", "down", "up", "three taps", "no product",
         "no filter", "up 3"],
)  # fmt: skip
def test_which_calls_are_fused(
    settings: dict[str, Any], fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def launcher(kernel: str, backend: str) -> Any:
        calls.append(kernel)
        return _kernel

    monkeypatch.setattr("fastgan.ops.modulated_conv2d_fused.launcher", launcher)
    x, weight, styles = torch.randn(2, 3, 6, 6), torch.randn(4, 3, 3, 3), torch.randn(2, 3)
    y, expected = (
        ops.modulated_conv2d(
            x, weight, styles, padding=1, flip_weight=False, act="lrelu", backend=backend,
            **settings,
        )
        for backend in ("cpp", "reference")
    )  # fmt: skip
    torch.testing.assert_close(y, expected)
    assert calls == ["modulated_conv2d_fused"] * fused


@pytest.mark.parametrize("up", [1, 2])
def test_compiles_forward_and_backward(up: int) -> None:
    inputs = [torch.randn(2, 3, 4, 4), torch.randn(4, 3, 3, 3), torch.randn(2, 3)]
    inputs = [value.double().requires_grad_() for value in inputs]
    filter = ops.setup_filter([1, 3, 3, 1]) if up == 2 else None

    def loss(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
        y = ops.modulated_conv2d(
            x, weight, styles, padding=1, up=up, resample_filter=filter, act="lrelu", backend="cpp"
        )
        return y.square().sum()

    expected = torch.autograd.grad(loss(*inputs), inputs)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for one, two in zip(torch.autograd.grad(compiled(*inputs), inputs), expected, strict=True):
        torch.testing.assert_close(one, two)
