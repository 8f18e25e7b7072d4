"""normalize_act on Triton's interpreter against the specification, in value and both gradients."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from fastgan import ops, reference
from tests import cases
from tests.orders import assert_orders_match
from tests.tolerances import DTYPES

# stats, and dimensions of weight and bias: 0 none, 1 per channel, 2 per sample and channel.
KINDS = [("instance", 2, 2), ("batch", 1, 1), ("batch", 2, 0), ("layer", 1, 2)]


def compare(x: Tensor, stats: str, weight: int, bias: int, **options: Any) -> None:
    sizes = [(), x.shape[1:2], x.shape[:2]]
    wide = torch.promote_types(x.dtype, torch.float32)
    parameters = [torch.randn(sizes[kind]).to(wide) if kind else None for kind in (weight, bias)]
    options = {"stats": stats, "act": "swish", **options}
    assert_orders_match(
        partial(ops.normalize_act, backend="triton", **options),
        partial(reference.normalize_act, **options),
        [x, *parameters],
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_dtype(dtype: torch.dtype, kind: tuple[str, int, int]) -> None:
    compare(cases.images("small", "contiguous", dtype), *kind, eps=1e-2)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_many_ragged_programs(kind: tuple[str, int, int], small_tiles: None) -> None:
    compare(torch.randn(2, 3, 3, 7), *kind, act="lrelu", clamp=1.0)


@pytest.mark.parametrize("layout", ["channels_last", "strided"])
def test_other_layouts(layout: str) -> None:
    x = cases.images("small", layout, torch.float32)
    compare(x, "batch", 1, 1)
    y = ops.normalize_act(x, backend="triton")
    assert cases.same_layout(y, torch.empty_like(x))


@pytest.mark.parametrize("shape", ["one_pixel", "empty_batch", "empty_height"])
def test_odd_and_empty_images(shape: str) -> None:
    compare(cases.images(shape, "contiguous", torch.float64), "instance", 1, 1)


@pytest.mark.parametrize("act", ["linear", "elu"])
def test_running_statistics(act: str) -> None:
    running = {"mean": torch.randn(3), "var": torch.rand(3)}
    compare(torch.randn(2, 3, 4, 5), "batch", 1, 1, act=act, **running)


def test_images_far_from_zero_keep_their_digits(small_tiles: None) -> None:
    compare(torch.randn(1, 2, 5, 7) + 3000.0, "instance", 0, 0, act="linear")


def test_third_order_matches_the_specification() -> None:
    def derivatives(function: Any) -> list[Tensor]:
        inputs = [cases.away_from_zero(2, 3, 2, 2), cases.away_from_zero(2, 3, seed=1),
                  cases.away_from_zero(3, seed=2)]  # fmt: skip
        value, found = function(*inputs, act="tanh"), []
        for _ in range(3):
            gradients = torch.autograd.grad((value**2).sum(), inputs, create_graph=True)
            found += gradients
            value = torch.cat([g.flatten() for g in gradients])
        return found

    actual = derivatives(partial(ops.normalize_act, backend="triton"))
    for one, two in zip(actual, derivatives(reference.normalize_act), strict=True):
        torch.testing.assert_close(one, two)


def test_opcheck() -> None:
    x, weight, bias = torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 3), None
    settings, checks = ("batch", 1e-5, "tanh", 0.0, 1.4, 0.9), ("test_schema", "test_faketensor")
    arguments = (x, weight, bias, None, None, *settings, "triton")
    torch.library.opcheck(torch.ops.fastgan.normalize_act, arguments, test_utils=checks)
    running = (torch.randn(3), torch.rand(3), True)
    arguments = (torch.randn(2, 3, 4, 4), x, weight, bias, *running, *settings, "triton")
    torch.library.opcheck(torch.ops.fastgan.normalize_act_grad, arguments, test_utils=checks)
