"""What a generator and a discriminator are to the rest of the project, and their shared checks.

Training, synthesis and metrics know networks by these protocols alone. No layers live here.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor


class DiscriminatorOutput(NamedTuple):
    """What a discriminator says about a batch.

    Args:
        logits: [N, 1], the higher the more real; objectives apply the sigmoid themselves.
        features: intermediate tensors by the name of the block that made them, in the order of
            computation and in that block's dtype; references, not copies. They feed feature
            matching and auxiliary heads.
    """

    logits: Tensor
    features: dict[str, Tensor]


@runtime_checkable
class Generator(Protocol):
    """A module that maps latents to samples: `G(z, c)`.

    z is [N, z_dim] standard normal, c is [N, c_dim] (one-hot labels or any embedding) or None
    when c_dim is 0. Images come as [N, C, H, W] nominally in [-1, 1], points as [N, D].
    """

    z_dim: int
    c_dim: int

    def __call__(self, z: Tensor, c: Tensor | None = None) -> Tensor: ...


@runtime_checkable
class Discriminator(Protocol):
    """A module that judges samples: `D(x, c).logits`, with x and c as a generator makes them."""

    c_dim: int

    def __call__(self, x: Tensor, c: Tensor | None = None) -> DiscriminatorOutput: ...


def check_latent(network: str, z: Tensor, z_dim: int) -> None:
    """Raise ValueError unless z is [N, z_dim]."""
    if z.ndim != 2 or z.shape[1] != z_dim:
        raise ValueError(f"{network}: z must be [N, {z_dim}], got {tuple(z.shape)}")


def check_condition(network: str, c: Tensor | None, c_dim: int, batch: int) -> Tensor | None:
    """Return c, or None for an unconditional network.

    Raises:
        ValueError: c is missing, of another shape, or given to an unconditional network.
    """
    if c_dim == 0:
        if c is None or c.numel() == 0:
            return None
        raise ValueError(
            f"{network}: the network is unconditional (c_dim=0), got c {tuple(c.shape)}; pass None"
        )
    if c is None:
        raise ValueError(f"{network}: the network is conditional, pass c [N, {c_dim}]")
    if tuple(c.shape) != (batch, c_dim):
        raise ValueError(
            f"{network}: c must be [{batch}, {c_dim}] (labels one-hot), got {tuple(c.shape)}"
        )
    return c


def check_images(network: str, x: Tensor, channels: int, size: tuple[int, int]) -> None:
    """Raise unless x is a floating-point batch of `channels` x `size` images."""
    if not torch.is_floating_point(x):
        raise TypeError(
            f"{network}: images must be floating point in [-1, 1], got {x.dtype}; "
            "convert uint8 by x / 127.5 - 1"
        )
    expected = (channels, *size)
    if x.ndim != 4 or tuple(x.shape[1:]) != expected:
        raise ValueError(
            f"{network}: images must be [N, {channels}, {size[0]}, {size[1]}], got {tuple(x.shape)}"
        )
