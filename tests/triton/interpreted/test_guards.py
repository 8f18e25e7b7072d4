"""The guards around results notice a kernel that stores outside, and leave a correct one alone."""

import pytest
import torch
import triton
import triton.language as tl
from torch import Tensor

from tests.triton.interpreter import GuardedMemory


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
