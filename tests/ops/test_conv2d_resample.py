"""conv2d_resample: every fast formulation against the literal one, in every gradient order."""

from functools import partial
from typing import Any

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from fastgan import ops, reference
from tests import cases
from tests.tolerances import DTYPES, assert_close_to_exact

TAPS = ops.setup_filter([1, 3, 4, 2])

FORMULATIONS: dict[str, dict[str, Any]] = {
    "plain": {"padding": 1},
    "plain_asymmetric": {"padding": [2, 0, 1, -1]},
    "no_padding": {},
    "up": {"up": 2, "padding": 1},
    "up3": {"up": 3, "padding": 1},
    "down": {"down": 2, "padding": 1},
    "down_asymmetric": {"down": 2, "padding": [1, 0, 2, 1]},
    "up_down": {"up": 2, "down": 2, "padding": 1},
    "up_cropped": {"up": 2, "padding": [-1, 0, -2, 1]},
    "convolution": {"padding": 1, "flip_weight": False},
    "up_convolution": {"up": 2, "padding": 1, "flip_weight": False},
    "flipped_filter": {"up": 2, "padding": 1, "flip_filter": True},
}


def _padding4(options: dict[str, Any]) -> dict[str, Any]:
    value = options.get("padding", 0)
    return options | {"padding": (value,) * 4 if isinstance(value, int) else tuple(value)}


@pytest.mark.parametrize("name", list(FORMULATIONS))
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_matches_reference(
    name: str, size: int, groups: int, dtype: torch.dtype, kernel_backend: str
) -> None:
    options = FORMULATIONS[name]
    x, weight = torch.randn(2, 4, 7, 6).to(dtype), torch.randn(6, 4 // groups, size, size).to(dtype)
    y = ops.conv2d_resample(x, weight, TAPS, groups=groups, backend=kernel_backend, **options)
    settings = _padding4(options)
    rounded = reference.conv2d_resample(x, weight, TAPS, groups=groups, **settings)
    exact = reference.conv2d_resample(x.double(), weight.double(), TAPS, groups=groups, **settings)
    assert_close_to_exact(y, rounded, exact)


@pytest.mark.parametrize("name", list(FORMULATIONS))
def test_gradients_to_second_order(name: str, backend: str) -> None:
    x, weight = cases.away_from_zero(1, 2, 4, 4), cases.away_from_zero(2, 2, 3, 3, seed=1)
    function = partial(ops.conv2d_resample, filter=TAPS, backend=backend, **FORMULATIONS[name])
    assert gradcheck(lambda x, weight: function(x, weight), (x, weight))
    assert gradgradcheck(lambda x, weight: function(x, weight), (x, weight))


@pytest.mark.parametrize("layout", list(cases.LAYOUTS))
@pytest.mark.parametrize("name", ["up", "down", "plain"])
def test_every_layout(layout: str, name: str, kernel_backend: str) -> None:
    x = cases.images("small", layout, torch.float64)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.float64)
    y = ops.conv2d_resample(x, weight, TAPS, backend=kernel_backend, **FORMULATIONS[name])
    expected = reference.conv2d_resample(x, weight, TAPS, **_padding4(FORMULATIONS[name]))
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("name", ["up", "down", "plain", "up_down"])
def test_empty_batch(name: str, backend: str) -> None:
    x = torch.zeros(0, 3, 8, 8, requires_grad=True)
    weight = torch.zeros(4, 3, 3, 3, requires_grad=True)
    y = ops.conv2d_resample(x, weight, TAPS, backend=backend, **FORMULATIONS[name])
    assert y.shape[:2] == (0, 4)
    grads = torch.autograd.grad(y.sum(), (x, weight))
    assert [tuple(g.shape) for g in grads] == [(0, 3, 8, 8), (4, 3, 3, 3)]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(1, 5, 4, 4)}, ValueError, "needs x with 3 channels"),
        ({"x": torch.zeros(3, 4, 4)}, ValueError, "x must have 4 dimensions"),
        ({"weight": torch.zeros(2, 3, 3, 3).double()}, TypeError, "weight is torch.float64"),
        ({"up": 0}, ValueError, "up must be an int >= 1, got 0"),
        ({"down": 1.5}, ValueError, "down must be an int >= 1"),
        ({"padding": [1, 2, 3]}, ValueError, "padding must be an int"),
    ],
)
def test_wrong_arguments_say_what_was_expected(
    change: dict[str, Any], error: type[Exception], message: str, backend: str
) -> None:
    arguments = {"x": torch.zeros(1, 3, 4, 4), "weight": torch.zeros(2, 3, 3, 3), "filter": TAPS}
    with pytest.raises(error, match=message):
        ops.conv2d_resample(**(arguments | change), backend=backend)
