"""The averaged copy of a player's networks. Which copy is sampled from is decided elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from math import cos, pi

import torch
from torch import Tensor, nn

from fastgan.training.recipe import EMASpec


def ema_beta(spec: EMASpec, batch: int, images_seen: int) -> float:
    """Return the weight of the old average, beta = 0.5^(batch / half-life).

    half-life = min(1000 kimg, ramp * images_seen); at 0 the average is a plain copy. While it
    rises, over r = 1000 rise_kimg images, kimg counts (1 - cos(pi images_seen / r)) / 2 of itself.

    Source: Karras et al. 2020 (ADA), appendix C; the rise: Huang et al. 2024 (R3GAN).
    """
    half_life = spec.kimg * 1000
    if spec.rise_kimg is not None:
        half_life *= (1 - cos(pi * min(images_seen / (spec.rise_kimg * 1000), 1.0))) / 2
    if spec.ramp is not None:
        half_life = min(half_life, images_seen * spec.ramp)
    return float(0.5 ** (batch / max(half_life, 1e-8)))


class EMA:
    """Exponential moving average of parameters; buffers are copied, not averaged.

    Args:
        nets: the networks to follow.
        spec: the half-life.
    """

    def __init__(self, nets: Mapping[str, nn.Module], spec: EMASpec) -> None:
        self.spec = spec
        self.nets = {name: copy.deepcopy(net).eval() for name, net in nets.items()}
        for net in self.nets.values():
            net.requires_grad_(False)
        self._sources = dict(nets)

    @torch.no_grad()
    def update(self, batch: int, images_seen: int) -> None:
        """Move towards the networks: average = beta average + (1 - beta) network.

        Args:
            batch: images of the step.
            images_seen: images of the run before the step.
        """
        weight = 1.0 - ema_beta(self.spec, batch, images_seen)
        averages, sources = _parameters(self.nets), _parameters(self._sources)
        # No kernel of our own: on a GPU this is a few launches for all parameters (64 tensors and
        # 320 chunks of 65536 elements each, more from CUDA 13 on), and it moves 12 bytes for each
        # float32 parameter, two reads and one write, which an average cannot do without.
        torch._foreach_lerp_(averages, sources, weight)
        for name, net in self.nets.items():
            for average, source in zip(net.buffers(), self._sources[name].buffers(), strict=True):
                average.copy_(source)


def _parameters(nets: Mapping[str, nn.Module]) -> list[Tensor]:
    return [parameter for net in nets.values() for parameter in net.parameters()]
