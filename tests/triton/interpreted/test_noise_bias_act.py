"""noise_bias_act on Triton's interpreter against the specification, in value and both gradients."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from fastgan import ops, reference
from tests import cases
from tests.orders import assert_orders_match
from tests.tolerances import DTYPES


def compare(x: Tensor, noise_samples: int = 1, with_bias: bool = True, **options: Any) -> None:
    """Values and gradients; no noise for noise_samples 0. The noise is of x's dtype, so that its
    gradient is held to the precision of the rounded gradients that it sums."""
    noise = torch.randn(noise_samples, 1, *x.shape[2:]).to(x.dtype) if noise_samples else None
    bias = torch.randn(x.shape[1]).to(x.dtype) if with_bias else None
    assert_orders_match(
        partial(ops.noise_bias_act, backend="triton", **options),
        partial(reference.noise_bias_act, **options),
        [x, noise, bias],
    )


@pytest.mark.parametrize("act", ["relu", "selu", "softplus"])
def test_activations(act: str) -> None:
    compare(cases.images("small", "contiguous", torch.float64) * 3, act=act, clamp=2.0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("layout", "act"), [("contiguous", "swish"), ("channels_last", "lrelu")])
def test_every_dtype(dtype: torch.dtype, layout: str, act: str) -> None:
    x = cases.images("small", layout, dtype)
    compare(x, noise_samples=2, act=act)
    y = ops.noise_bias_act(x, act=act, backend="triton")
    assert cases.same_layout(y, torch.empty_like(x))


@pytest.mark.parametrize(
    ("noise_samples", "with_bias", "layout"),
    [
        (0, True, "contiguous"),
        (1, False, "contiguous"),
        (2, True, "channels_last"),
        (1, True, "channels_last"),
    ],
)
def test_many_ragged_programs(
    noise_samples: int, with_bias: bool, layout: str, small_tiles: None
) -> None:
    x = cases.LAYOUTS[layout](torch.randn(2, 5, 3, 9))
    compare(x, noise_samples, with_bias, gain=-0.7, clamp=0.9)


@pytest.mark.parametrize("shape", ["one_pixel", "wide", "empty_batch", "empty_height"])
def test_every_shape(shape: str) -> None:
    compare(cases.images(shape, "strided", torch.float32))


def test_third_order_matches_the_specification() -> None:
    def derivatives(function: Any) -> list[Tensor]:
        inputs = [cases.away_from_zero(2, 3, 2, 2), cases.away_from_zero(1, 1, 2, 2, seed=1),
                  cases.away_from_zero(3, seed=2)]  # fmt: skip
        value, found = function(*inputs, act="tanh"), []
        for _ in range(3):
            gradients = torch.autograd.grad((value**2).sum(), inputs, create_graph=True)
            found += gradients
            value = torch.cat([g.flatten() for g in gradients])
        return found

    actual = derivatives(partial(ops.noise_bias_act, backend="triton"))
    for one, two in zip(actual, derivatives(reference.noise_bias_act), strict=True):
        torch.testing.assert_close(one, two)


def test_opcheck() -> None:
    x, noise = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(1, 1, 4, 4)
    arguments = (x, noise, torch.randn(3), "tanh", 0.0, 1.4, 0.9, "triton")
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.fastgan.noise_bias_act, arguments, test_utils=checks)
