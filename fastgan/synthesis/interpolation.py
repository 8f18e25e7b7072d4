"""Paths between latents. Pure functions of tensors; sampling.py renders them."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor


def lerp(a: Tensor, b: Tensor, t: Tensor | float) -> Tensor:
    """Straight line, (1 - t) a + t b: the natural path in W, which has no shell of typical norm."""
    return a + (b - a) * t


def slerp(a: Tensor, b: Tensor, t: Tensor | float) -> Tensor:
    """Great-circle path between the directions of a and b, with the norm interpolated.

    y = |y| (sin((1 - t) theta) a/|a| + sin(t theta) b/|b|) / sin theta, |y| = (1 - t)|a| + t|b|.
    It keeps normal latents at the norm that the generator was trained on; a straight line would
    pass near the origin. Equal directions fall back to the straight line.

    Args:
        a, b: [..., D], floating point.
        t: number, or tensor broadcastable to [..., 1].

    Source: Shoemake 1985; White 2016, "Sampling Generative Networks", section 2.1.
    """
    norm_a, norm_b = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    unit_a, unit_b = a / norm_a, b / norm_b
    theta = (unit_a * unit_b).sum(dim=-1, keepdim=True).clamp(-1, 1).acos()  # [..., 1]
    sine = theta.sin()
    t = torch.as_tensor(t, dtype=a.dtype)
    arc = ((1 - t) * theta).sin() * unit_a + (t * theta).sin() * unit_b
    arc = arc / sine * lerp(norm_a, norm_b, t)
    return torch.where(sine.abs() < 1e-4, lerp(a, b, t), arc)


def walk(points: Tensor, frames: int, *, spherical: bool = False, loop: bool = True) -> Tensor:
    """Visit points one after the other, at `frames` latents per leg.

    Args:
        points: [K, ..., D], K >= 2, such as latents [K, z_dim] or [K, num_ws, w_dim].
        frames: latents per leg, at least 1; the first of a leg is its point.
        spherical: slerp (for z) instead of lerp (for w).
        loop: come back to the first point, so that a video repeats without a jump.

    Returns: [legs * frames, ..., D], legs K with `loop`, else K - 1; without `loop` one more
        latent is added, the last point itself.
    Raises: ValueError for fewer than two points or less than one frame.
    """
    if len(points) < 2 or frames < 1:
        raise ValueError(f"walk: needs 2 points and 1 frame, got {len(points)} and {frames}")
    between = slerp if spherical else lerp
    times = torch.arange(frames, dtype=points.dtype) / frames
    times = times.reshape(-1, *[1] * (points.ndim - 1))  # [frames, 1, ...]
    stops = torch.cat([points, points[:1]]) if loop else points
    legs = [
        between(start[None].expand(frames, *start.shape), end[None], times)
        for start, end in itertools.pairwise(stops)
    ]
    return torch.cat(legs if loop else [*legs, points[-1:]])
