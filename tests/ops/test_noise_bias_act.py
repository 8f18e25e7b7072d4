"""noise_bias_act on the CPU: choice of backend, checks, gradients. The kernels are compared with
the specification in tests/triton/interpreted and tests/emulation."""

import logging
import sys
from functools import partial
from typing import Any

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from fastgan import BackendUnavailableError, ops, use_backend
from tests import cases


@pytest.mark.parametrize("act", ["lrelu", "swish"])
@pytest.mark.parametrize("noise_samples", [1, 2])
def test_gradients_to_second_order(act: str, noise_samples: int) -> None:
    inputs = (
        cases.away_from_zero(2, 3, 2, 2),
        cases.away_from_zero(noise_samples, 1, 2, 2, seed=1) * 0.01,
        cases.away_from_zero(3, seed=2) * 0.01,
    )
    function = partial(ops.noise_bias_act, act=act, clamp=2.0)
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


def test_equals_bias_act_of_the_sum() -> None:
    x, noise, bias = torch.randn(2, 3, 4, 5), torch.randn(2, 1, 4, 5), torch.randn(3)
    expected = ops.bias_act(x + noise, bias, act="elu", gain=0.5, clamp=0.7)
    actual = ops.noise_bias_act(x, noise, bias, act="elu", gain=0.5, clamp=0.7)
    torch.testing.assert_close(actual, expected)


def test_the_cpp_backend_says_why_not() -> None:
    with pytest.raises(BackendUnavailableError, match="cpp: noise_bias_act has kernels for GPUs"):
        ops.noise_bias_act(torch.zeros(1, 1, 1, 1), backend="cpp")
    with (
        pytest.raises(BackendUnavailableError, match="kernels for GPUs"),
        use_backend("noise_bias_act=cpp"),
    ):
        ops.noise_bias_act(torch.zeros(1, 1, 1, 1))


def test_the_cpu_uses_the_reference_in_silence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = sys.modules["fastgan.dispatch.select"]
    monkeypatch.setattr(module, "_resolved", {})
    with caplog.at_level(logging.DEBUG, logger="fastgan"):
        ops.noise_bias_act(torch.zeros(1, 1, 1, 1))
        with use_backend("cpp"):  # asks for the kernels that cpp has
            ops.noise_bias_act(torch.zeros(1, 1, 1, 1))
    assert caplog.records == []


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(2, 3, 4)}, ValueError, r"x must have 4 dimensions \[N, C, H, W\]"),
        ({"x": torch.zeros(2, 3, 4, 4).int()}, TypeError, "x must be floating point"),
        ({"act": "gelu"}, ValueError, "act must be one of"),
        ({"clamp": -1.0}, ValueError, "clamp must be at least 0"),
        ({"noise": torch.zeros(3, 1, 4, 4)}, ValueError, r"noise must have shape \[2 or 1, 1, 4"),
        ({"noise": torch.zeros(2, 3, 4, 4)}, ValueError, r"noise must have shape \[2 or 1, 1, 4"),
        ({"noise": torch.zeros(1, 1, 4, 4).int()}, TypeError, "noise must be floating point"),
        ({"bias": torch.zeros(4)}, ValueError, r"bias must have shape \[3\]"),
        ({"bias": torch.zeros(3).double()}, TypeError, "bias is torch.float64, x is torch.float32"),
    ],
)
def test_wrong_arguments_say_what_was_expected(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ops.noise_bias_act(**{"x": torch.zeros(2, 3, 4, 4), **change})
