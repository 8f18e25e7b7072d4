"""Perceptual path length of a generator, with distances between an extractor's features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastgan.errors import ConfigError
from fastgan.metrics.extractors import FeatureExtractor
from fastgan.metrics.path_length import PathLength, Space, Walk, path_length

LARGEST = 256  # side above which images are averaged down, as the published metric does


@torch.no_grad()
def generator_path_length(
    generator: nn.Module,
    extractor: FeatureExtractor,
    *,
    pairs: int,
    space: Space = "w",
    labels: Tensor | None = None,
    seed: int = 0,
    batch: int = 16,
) -> PathLength:
    """Return the path length of a generator at t = 0 with squared distances of features.

    Images are rendered in float32 and not rounded to bytes, which would hide the step. Layer noise
    is drawn anew for each batch of pairs, the same for both images of a pair.

    Args:
        generator: of `fastgan.networks`, on its device.
        extractor: images to features.
        pairs: how many.
        space: "w", for networks with a mapping, or "z".
        labels: [pairs, c_dim] for conditional networks.
        seed: of latents and noise.
        batch: pairs rendered together.

    Raises: ConfigError when the network has no w.
    """
    network: Any = generator
    if space == "w" and not hasattr(network, "mapping"):
        raise ConfigError(f"metrics: ppl needs w, {type(network).__name__} has none; take ppl-z")
    device = next(generator.parameters()).device
    draws = torch.Generator().manual_seed(seed)
    condition: list[Tensor | None] = [None]

    def walks() -> Iterator[Walk]:
        for start in range(0, pairs, batch):
            count = min(batch, pairs - start)
            z = torch.randn(2, count, network.z_dim, generator=draws).to(device)
            c = None if labels is None else labels[start : start + count].to(device)
            condition[0] = c
            yield Walk(*(network.mapping(x, c) for x in z)) if space == "w" else Walk(z[0], z[1])

    def render(latents: Tensor) -> Tensor:
        c = None if condition[0] is None else condition[0].repeat(2, 1)
        if not hasattr(network, "mapping"):
            return _shrink(network(latents, c))
        ws = latents if space == "w" else network.mapping(latents, c)
        noise = _pairwise_noise(len(ws) // 2, draws)
        return _shrink(network.synthesis(ws, noise_mode="random", noise=noise, force_fp32=True))

    def distance(first: Tensor, second: Tensor) -> Tensor:
        features = extractor(torch.cat([first, second]).mul(127.5).add(127.5)).features.double()
        a, b = features.chunk(2)
        return (a - b).square().sum(dim=1)

    was_training = generator.training
    generator.eval()
    try:
        return path_length(walks(), render, distance, space=space, seed=seed)
    finally:
        generator.train(was_training)


def _pairwise_noise(count: int, draws: torch.Generator) -> Callable[[int, int, int], Tensor]:
    """Layer noise [2 count, 1, H, W] whose halves are equal."""

    def noise(layer: int, height: int, width: int) -> Tensor:
        return torch.randn(count, 1, height, width, generator=draws).repeat(2, 1, 1, 1)

    return noise


def _shrink(images: Tensor) -> Tensor:
    factor = min(images.shape[2:]) // LARGEST
    return F.avg_pool2d(images, factor) if factor > 1 else images
