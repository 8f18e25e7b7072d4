"""Argument checks that several ops share. Messages say what was expected and what came."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def check_floating(op: str, name: str, tensor: torch.Tensor) -> None:
    """Raise TypeError unless `tensor` is floating point."""
    if not tensor.is_floating_point():
        raise TypeError(f"{op}: {name} must be floating point, got {tensor.dtype}")


def check_rank(op: str, name: str, tensor: torch.Tensor, rank: int, layout: str) -> None:
    """Raise ValueError unless `tensor` has `rank` dimensions."""
    if tensor.ndim != rank:
        raise ValueError(
            f"{op}: {name} must have {rank} dimensions {layout}, got shape {tuple(tensor.shape)}"
        )


def check_same(op: str, name: str, tensor: torch.Tensor, x: torch.Tensor) -> None:
    """Raise unless `tensor` has the dtype and the device of x."""
    if tensor.dtype != x.dtype:
        raise TypeError(f"{op}: {name} is {tensor.dtype}, x is {x.dtype}; convert one of them")
    if tensor.device != x.device:
        raise ValueError(f"{op}: {name} is on {tensor.device}, x is on {x.device}; move one")


def pair(op: str, name: str, value: int | Sequence[int]) -> tuple[int, int]:
    """Read a factor given as one int or as [x, y]; factors are at least 1."""
    parts = _parts(value)
    if len(parts) != 2 or not all(isinstance(part, int) and part >= 1 for part in parts):
        raise ValueError(f"{op}: {name} must be an int >= 1 or [x, y] of them, got {value!r}")
    return parts[0], parts[1]


def padding4(op: str, value: int | Sequence[int]) -> tuple[int, int, int, int]:
    """Read a padding given as int, [x, y] or [x0, x1, y0, y1] into the four-number form."""
    parts = _parts(value)
    if len(parts) == 2:
        parts = (parts[0], parts[0], parts[1], parts[1])
    if len(parts) != 4 or not all(isinstance(part, int) for part in parts):
        raise ValueError(
            f"{op}: padding must be an int, [x, y] or [x0, x1, y0, y1] of ints, got {value!r}"
        )
    return parts[0], parts[1], parts[2], parts[3]


def _parts(value: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(value, int):
        return value, value
    return tuple(value) if isinstance(value, Sequence) else ()
