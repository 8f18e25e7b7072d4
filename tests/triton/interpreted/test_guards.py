"""The guards around results notice a kernel that stores outside, and leave a correct one alone."""

import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime.interpreter import InterpreterBuilder

from tests.triton.interpreter import GuardedMemory

UNCHANGED_DOT = InterpreterBuilder.create_dot  # imported before any test changes it


@triton.jit
def fill_kernel(out_ptr, size, MASKED: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(out_ptr + i, i.to(tl.float32), mask=(i < size) | (not MASKED))


def fill(memory: GuardedMemory, masked: bool) -> Tensor:
    out = memory.allocate((5,), (1,), torch.float32, torch.device("cpu"))
    fill_kernel[(1,)](out, 5, MASKED=masked, BLOCK=8)
    return out


def test_a_store_outside_is_noticed() -> None:
    memory = GuardedMemory()
    fill(memory, False)
    with pytest.raises(AssertionError, match="3 elements were written outside"):
        memory.check()


def test_a_masked_store_is_not() -> None:
    memory = GuardedMemory()
    assert fill(memory, True).tolist() == [0, 1, 2, 3, 4]
    memory.check()


@triton.jit
def product_kernel(a_ptr, b_ptr, out_ptr, SIZE: tl.constexpr):
    place = tl.arange(0, SIZE)[:, None] * SIZE + tl.arange(0, SIZE)[None, :]
    product = tl.dot(tl.load(a_ptr + place), tl.load(b_ptr + place))
    tl.store(out_ptr + place, product)


def product_error() -> float:
    a, b = torch.randn(16, 16).bfloat16(), torch.randn(16, 16).bfloat16()
    out = torch.empty(16, 16)
    product_kernel[(1,)](a, b, out, SIZE=16)
    return (out - a.float() @ b.float()).abs().max().item()


def test_bfloat16_products_are_right_with_the_change_and_wrong_without() -> None:
    assert product_error() < 1e-5
    with pytest.MonkeyPatch.context() as context:
        context.setattr(InterpreterBuilder, "create_dot", UNCHANGED_DOT)
        assert product_error() > 1e6
