"""Perceptual path length: how far an image moves for a small step of its latent.

Source: Karras et al. 2019, "A Style-Based Generator Architecture for GANs", section 4.1; endpoints
and w as in Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

Space: TypeAlias = Literal["w", "z"]
Sampling: TypeAlias = Literal["end", "full"]


class PathLength(NamedTuple):
    """Mean and standard deviation over the pairs that were kept, and how many pairs there were."""

    mean: float
    std: float
    pairs: int


class Walk(NamedTuple):
    """Pairs of latents.

    Attributes:
        start, end: [N, z_dim] in z, [N, ..., w_dim] in w.
    """

    start: Tensor
    end: Tensor


def path_length(
    walks: Iterable[Walk],
    render: Callable[[Tensor], Tensor],
    distance: Callable[[Tensor, Tensor], Tensor],
    *,
    space: Space = "w",
    sampling: Sampling = "end",
    epsilon: float = 1e-4,
    trim: float = 0.01,
    seed: int = 0,
) -> PathLength:
    """Return the mean of distance(G(p(t)), G(p(t + epsilon))) / epsilon^2 over random paths p.

    Args:
        walks: batches of pairs.
        render: latents of one batch, both ends of the step after each other [2 N, ...], to images
            [2 N, C, H, W]. Layer noise must be equal for image i and image N + i, or the noise is
            measured.
        distance: images, images -> [N]. It has to be quadratic for small differences, as LPIPS and
            squared distances of features are.
        space: "w": straight lines; "z": great circles.
        sampling: "end": t = 0; "full": t uniform in [0, 1).
        epsilon: the step.
        trim: pairs below this quantile and above the opposite one are left out.
        seed: of t.

    Raises: ValueError without pairs, or when a distance is not finite.
    """
    between = _straight if space == "w" else _arc
    generator = torch.Generator().manual_seed(seed)
    found = []
    for walk in walks:
        t = torch.zeros(len(walk.start), dtype=torch.float64)
        if sampling == "full":
            t = torch.rand(len(walk.start), generator=generator, dtype=torch.float64)
        ends = [between(walk.start, walk.end, at) for at in (t, t + epsilon)]
        images = render(torch.cat(ends))
        first, second = images.split(len(walk.start))
        found.append(distance(first, second).detach().cpu().double() / epsilon**2)
    values = torch.cat(found).numpy() if found else np.zeros(0)
    if len(values) == 0 or not np.isfinite(values).all():
        raise ValueError("path_length: expected at least one pair and finite distances")
    low = np.percentile(values, 100 * trim, method="lower")
    high = np.percentile(values, 100 * (1 - trim), method="higher")
    kept = values[(values >= low) & (values <= high)]
    return PathLength(float(kept.mean()), float(kept.std()), len(values))


def _straight(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(1 - t) a + t b in float64, back in the type of a."""
    a64, b64 = a.double(), b.double()
    weight = t.to(a.device).reshape(-1, *[1] * (a.ndim - 1))
    return (a64 + (b64 - a64) * weight).to(a.dtype)


def _arc(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Along the great circle between the directions of a and b; norms are set to sqrt(D), where
    normal latents lie."""
    u, v = (x.double() / x.double().norm(dim=-1, keepdim=True) for x in (a, b))
    cosine = (u * v).sum(dim=-1, keepdim=True)
    across = v - cosine * u
    across = across / across.norm(dim=-1, keepdim=True).clamp(min=1e-30)
    angle = t.to(a.device)[:, None] * cosine.clamp(-1, 1).acos()
    point = u * angle.cos() + across * angle.sin()
    return (point * a.shape[-1] ** 0.5).to(a.dtype)
