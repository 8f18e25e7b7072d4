"""normalize_act and moments on the CPU: checks and gradients. The kernels are compared with the
specification in tests/triton/interpreted and tests/emulation."""

from typing import Any

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from fastgan import BackendUnavailableError, ops
from fastgan.reference.normalize_act import STATISTICS
from tests import cases


@pytest.mark.parametrize("stats", list(STATISTICS))
def test_gradients_to_second_order(stats: str) -> None:
    inputs = (
        cases.away_from_zero(2, 2, 2, 2),
        cases.away_from_zero(2, 2, seed=1),
        cases.away_from_zero(2, seed=2),
    )

    def function(*inputs: torch.Tensor) -> torch.Tensor:
        return ops.normalize_act(*inputs, stats=stats, act="swish")

    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@pytest.mark.parametrize(
    ("stats", "shape"), [("instance", (3, 4)), ("batch", (4,)), ("layer", (3,))]
)
def test_moments_are_those_of_the_normalisation(stats: str, shape: tuple[int, ...]) -> None:
    x = torch.randn(3, 4, 5, 2, dtype=torch.float64) * 2 + 7
    mean, var = ops.moments(x, stats)
    assert mean.shape == var.shape == shape
    over = {"instance": (3, 4, 1, 1), "batch": (1, 4, 1, 1), "layer": (3, 1, 1, 1)}[stats]
    expected = (x - mean.reshape(over)) / (var.reshape(over) + 1e-5).sqrt()
    torch.testing.assert_close(ops.normalize_act(x, stats=stats), expected)


def test_moments_of_half_precision_are_float32() -> None:
    mean, var = ops.moments(torch.full((1, 1, 1, 4), 600.0).half(), "batch")
    assert mean.dtype == var.dtype == torch.float32
    assert (mean.item(), var.item()) == (600.0, 0.0)


def test_running_statistics_are_constants() -> None:
    mean, var = torch.randn(3, requires_grad=True), torch.rand(3, requires_grad=True)
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    ops.normalize_act(x, stats="batch", mean=mean, var=var).sum().backward()
    assert mean.grad is None
    expected = 1 / (var.detach() + 1e-5).sqrt()
    torch.testing.assert_close(x.grad, expected[:, None, None].expand(2, 3, 4, 4))


def test_the_cpp_backend_says_why_not() -> None:
    with pytest.raises(BackendUnavailableError, match="cpp: normalize_act has kernels for GPUs"):
        ops.normalize_act(torch.zeros(1, 1, 1, 1), backend="cpp")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(2, 3, 4)}, ValueError, r"x must have 4 dimensions \[N, C, H, W\]"),
        ({"x": torch.zeros(2, 3, 4, 4).int()}, TypeError, "x must be floating point"),
        ({"stats": "group"}, ValueError, "stats must be one of"),
        ({"act": "gelu"}, ValueError, "act must be one of"),
        ({"clamp": -1.0}, ValueError, "clamp must be at least 0"),
        ({"weight": torch.zeros(2)}, ValueError, r"weight must have shape \[3\] or \[2, 3\]"),
        ({"bias": torch.zeros(1, 3)}, ValueError, r"bias must have shape \[3\] or \[2, 3\]"),
        ({"bias": torch.zeros(3).int()}, TypeError, "bias must be floating point"),
        ({"mean": torch.zeros(3)}, ValueError, "mean and var must be given together"),
        (
            {"mean": torch.zeros(3), "var": torch.ones(3)},
            ValueError,
            "mean and var are those of stats 'batch', got stats 'instance'",
        ),
        (
            {"mean": torch.zeros(2, 3), "var": torch.ones(3), "stats": "batch"},
            ValueError,
            r"mean must have shape \[3\]",
        ),
    ],
)
def test_wrong_arguments_say_what_was_expected(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ops.normalize_act(**{"x": torch.zeros(2, 3, 4, 4), **change})
