"""minibatch_std on Triton's interpreter against the specification, in value and both gradients."""

from functools import partial

import pytest
import torch
from torch import Tensor

from fastgan import ops, reference
from tests import cases
from tests.orders import assert_orders_match
from tests.tolerances import DTYPES


def compare(x: Tensor, group_size: int = 4, num_channels: int = 1) -> None:
    settings = {"group_size": group_size, "num_channels": num_channels}
    function = partial(ops.minibatch_std, backend="triton", **settings)
    assert_orders_match(function, partial(reference.minibatch_std, **settings), [x])
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    layout = torch.channels_last if last else torch.contiguous_format
    assert function(x).is_contiguous(memory_format=layout)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_every_dtype(dtype: torch.dtype, layout: str) -> None:
    compare(cases.LAYOUTS[layout](torch.randn(6, 4, 3, 5)).to(dtype), 3, 2)


@pytest.mark.parametrize(
    ("layout", "num_channels"), [("contiguous", 1), ("channels_last", 2), ("strided", 2)]
)
def test_many_ragged_programs(layout: str, num_channels: int, small_tiles: None) -> None:
    compare(cases.LAYOUTS[layout](torch.randn(4, 4, 3, 5)), 2, num_channels)


@pytest.mark.parametrize("size", [(1, 1, 1, 1), (5, 3, 1, 4), (0, 3, 2, 2), (2, 3, 0, 2)])
def test_odd_and_empty_batches(size: tuple[int, ...]) -> None:
    compare(torch.randn(size))


def test_samples_far_from_zero_keep_their_digits() -> None:
    compare(torch.randn(4, 2, 4, 4) + 3000.0)


def test_equal_samples_have_the_root_of_epsilon() -> None:
    x = torch.randn(1, 2, 3, 3).repeat(4, 1, 1, 1).requires_grad_()
    y = ops.minibatch_std(x, backend="triton")
    torch.testing.assert_close(y[:, 2:], torch.full((4, 1, 3, 3), 1e-4))
    (grad,) = torch.autograd.grad(y[:, 2:].sum(), x)
    assert torch.equal(grad, torch.zeros_like(grad))


def test_opcheck() -> None:
    x, checks = torch.randn(4, 2, 3, 3, requires_grad=True), ("test_schema", "test_faketensor")
    torch.library.opcheck(torch.ops.fastgan.minibatch_std, (x, 2, 1, "triton"), test_utils=checks)
    arguments = (torch.randn(4, 3, 3, 3), x, 2, 1, "triton")
    torch.library.opcheck(torch.ops.fastgan.minibatch_std_grad, arguments, test_utils=checks)
