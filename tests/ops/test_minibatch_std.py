"""minibatch_std on the CPU: checks and gradients. The kernels are compared with the specification
in tests/triton/interpreted and tests/emulation."""

from typing import Any

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from fastgan import BackendUnavailableError, ops


@pytest.mark.parametrize("num_channels", [1, 2])
def test_gradients_to_second_order(num_channels: int) -> None:
    x = torch.randn(4, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: ops.minibatch_std(x, 2, num_channels), x)
    assert gradgradcheck(lambda x: ops.minibatch_std(x, 2, num_channels), x)


def test_the_cpp_backend_says_why_not() -> None:
    with pytest.raises(BackendUnavailableError, match="cpp: minibatch_std has kernels for GPUs"):
        ops.minibatch_std(torch.zeros(1, 1, 1, 1), backend="cpp")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(2, 3, 4)}, ValueError, r"x must have 4 dimensions \[N, C, H, W\]"),
        ({"x": torch.zeros(2, 3, 4, 4).int()}, TypeError, "x must be floating point"),
        ({"group_size": 0}, ValueError, "group_size must be at least 1"),
        ({"num_channels": 2}, ValueError, "num_channels must divide the 3 channels"),
        ({"num_channels": 0}, ValueError, "num_channels must divide the 3 channels"),
    ],
)
def test_wrong_arguments_say_what_was_expected(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ops.minibatch_std(**{"x": torch.zeros(2, 3, 4, 4), **change})
