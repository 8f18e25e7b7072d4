"""What the tests change in Triton's interpreter, and the guarded memory that kernels write into.

The interpreter of triton 3.7 truncates float32 to bfloat16, where GPUs round to nearest even. It
does not notice a store outside of a tensor, either.
"""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

GUARD = 256  # elements before and after each result
SENTINEL = -123.0  # a number that every dtype holds exactly


def rounded_bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 to the bits of the nearest bfloat16, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    nearest = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, nearest).astype(np.uint16)


def round_bfloat16_as_gpus_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the two conversions to bfloat16 of the interpreter."""
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    for name in ("cast_impl", "create_fp_to_fp"):
        original = getattr(InterpreterBuilder, name)

        def convert(self, src, dst_type, *rest, original=original):  # type: ignore[no-untyped-def]
            if src.dtype.scalar == tl.float32 and dst_type.scalar == tl.bfloat16:
                return TensorHandle(rounded_bfloat16(src.data), dst_type.scalar)
            return original(self, src, dst_type, *rest)

        monkeypatch.setattr(InterpreterBuilder, name, convert)


class GuardedMemory:
    """Stands in for `fastgan.kernels.tensors.allocate`: each tensor lies between guards of a
    sentinel, and starts as NaN, so that an element nobody writes shows too."""

    def __init__(self) -> None:
        self.buffers: list[tuple[Tensor, int]] = []

    def allocate(
        self, size: Sequence[int], stride: Sequence[int], dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        steps = ((extent - 1) * step for extent, step in zip(size, stride, strict=True))
        length = 0 if 0 in size else 1 + sum(steps)
        buffer = torch.full((length + 2 * GUARD,), SENTINEL, dtype=dtype, device=device)
        buffer[GUARD : GUARD + length] = float("nan")
        self.buffers.append((buffer, length))
        # Through dlpack, so that the result starts its storage, as an ordinary one does.
        inner = torch.from_dlpack(buffer[GUARD : GUARD + length])
        return inner.as_strided(size, stride)

    def check(self) -> None:
        """Fail when a guard changed."""
        for buffer, length in self.buffers:
            guards = torch.cat([buffer[:GUARD], buffer[GUARD + length :]])
            changed = int((guards != SENTINEL).sum())
            assert changed == 0, f"{changed} elements were written outside a result of {length}"


def widen_bfloat16_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `tl.dot` of the interpreter multiply bfloat16 numbers, not the integers of their bits."""
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    original = InterpreterBuilder.create_dot

    def widened(handle):  # type: ignore[no-untyped-def]
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        bits = np.ascontiguousarray(handle.data).astype(np.uint32) << 16
        return TensorHandle(bits.view(np.float32), tl.float32)

    def create_dot(self, a, b, *rest):  # type: ignore[no-untyped-def]
        return original(self, widened(a), widened(b), *rest)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", create_dot)
