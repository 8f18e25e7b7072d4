"""What callers of `Synthesizer` pass -> checked float32 tensors. Nothing is rendered here."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from fastgan.errors import ConfigError

Array: TypeAlias = "Tensor | np.ndarray"


def floats(name: str, value: Array, expected: str) -> Tensor:
    """A finite float32 copy or view without gradient.

    Raises:
        TypeError: not an array or tensor of floating-point numbers.
        ConfigError: empty, or a value is NaN or infinite (in float32).
    """
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        with np.errstate(over="ignore"):  # infinity gets the message below
            value = torch.from_numpy(np.array(value, dtype=np.float32))
    elif not (isinstance(value, Tensor) and value.is_floating_point()):
        raise TypeError(
            f"{name}: expected floating-point {expected} as a torch tensor or numpy array, "
            f"got {getattr(value, 'dtype', type(value).__name__)}"
        )
    tensor = value.detach().float()
    if tensor.ndim == 0 or len(tensor) == 0:
        raise ConfigError(f"{name}: expected {expected}, N >= 1, got {list(tensor.shape)}")
    if not _is_finite(tensor):
        raise ConfigError(f"{name}: holds NaN or infinity; expected finite numbers")
    return tensor


def _is_finite(tensor: Tensor) -> bool:
    """By numpy where it can: three operators of torch take longer than a tenth of a small frame."""
    if tensor.device.type == "cpu":
        return bool(np.isfinite(tensor.numpy()).all())
    return bool(torch.isfinite(tensor).all())


def latents(value: Array, z_dim: int) -> Tensor:
    """Check z, float32 [N, z_dim]."""
    z = floats("z", value, f"[N, {z_dim}]")
    if z.ndim != 2 or z.shape[1] != z_dim:
        raise ConfigError(f"z: expected [N, {z_dim}], got {list(z.shape)}")
    return z


def styles(name: str, value: Array, num_ws: int, w_dim: int) -> Tensor:
    """Check w, [N, w_dim] or [N, num_ws, w_dim]; float32 [N, num_ws, w_dim]."""
    expected = f"[N, {num_ws}, {w_dim}] or [N, {w_dim}]"
    ws = floats(name, value, expected)
    if ws.ndim == 2:
        ws = ws[:, None].expand(-1, num_ws, -1)
    if ws.ndim != 3 or tuple(ws.shape[1:]) != (num_ws, w_dim):
        found = list(value.shape)
        raise ConfigError(f"{name}: expected {expected}, got {found}")
    return ws


def conditions(value: Array | None, count: int, c_dim: int) -> Tensor | None:
    """Check the labels of `count` latents, float32 [N, c_dim]; None for unconditional models."""
    if c_dim == 0:
        if value is None or 0 in value.shape:
            return None
        raise ConfigError(f"labels: the model is not conditional, got {list(value.shape)}")
    expected = f"[{count}, {c_dim}]"
    if value is None:
        raise ConfigError(f"labels: the model is conditional; pass {expected}, one-hot rows")
    if isinstance(value, np.ndarray) and value.dtype.kind in "biu":
        value = value.astype(np.float32)
    elif isinstance(value, Tensor) and not value.is_complex():
        value = value.float()
    c = floats("labels", value, expected)
    if tuple(c.shape) != (count, c_dim):
        raise ConfigError(f"labels: expected {expected}, got {list(c.shape)}")
    return c


def seed_numbers(value: Sequence[int]) -> list[int]:
    """Check seeds: at least one, whole numbers that are not negative."""
    try:
        seeds = [index(seed) for seed in value]
    except TypeError as error:
        raise TypeError(f"seeds: expected whole numbers such as [0, 1], got {value!r}") from error
    if not seeds or min(seeds) < 0:
        raise ConfigError(f"seeds: expected at least one, and none below 0, got {seeds[:8]}")
    return seeds
