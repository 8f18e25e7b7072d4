"""The generators that are rendered: sizes, random weights, and what they cost at least."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastgan import use_backend
from fastgan.networks import StyleGAN2Generator

NOISE_STRENGTH = 0.1
CONTRAST = 0.4  # standard deviation of the image, so that few pixels reach the ends of the bytes


@dataclass(frozen=True)
class Net:
    """One row of the synthesis benchmark."""

    resolution: int
    channel_base: int
    batch: int
    channel_max: int = 512
    w_dim: int = 512

    @property
    def name(self) -> str:
        """The case, as tables and --only have it."""
        return f"{self.resolution}x{self.channel_base} batch {self.batch}"

    def build(self) -> tuple[StyleGAN2Generator, Tensor]:
        """Return a generator with random weights, noise and biases, and ws [N, num_ws, w_dim].

        The weights of the last layers are scaled for an image of standard deviation CONTRAST:
        images that are black and white hide errors.
        """
        with torch.random.fork_rng():
            torch.manual_seed(self.resolution * self.channel_base)
            generator = StyleGAN2Generator(
                self.w_dim, 0, self.w_dim, self.resolution, 3, mapping_layers=2,
                channel_base=self.channel_base, channel_max=self.channel_max,
            )  # fmt: skip
            _randomize(generator)
            z = torch.randn(self.batch, self.w_dim)
        generator.eval().requires_grad_(False)
        ws = generator.mapping(z)
        scale = CONTRAST / float(generator.synthesis(ws[:1], noise_mode="const").std())
        for name, parameter in generator.named_parameters():
            if ".torgb." in name and ".affine." not in name:
                parameter.mul_(scale)
        return generator, ws


@torch.no_grad()
def _randomize(generator: StyleGAN2Generator) -> None:
    for name, parameter in generator.synthesis.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(NOISE_STRENGTH)
        elif name.endswith("bias"):
            parameter.add_(torch.randn_like(parameter), alpha=0.1)


def truth(generator: StyleGAN2Generator, ws: Tensor) -> Tensor:
    """Return the images [N, C, H, W] by the specification in float64."""
    exact: Any = copy.deepcopy(generator.synthesis).double()
    with use_backend("reference"), torch.no_grad():
        images = [exact(w[None].double(), noise_mode="const") for w in ws]
    return torch.cat(images)


def direct_flops(generator: StyleGAN2Generator, batch: int) -> float:
    """Return operations of the convolutions by their definition, two per multiplication.

    An upsampling one multiplies each pixel of its input by each tap.
    """
    total = 0
    for name, _, _ in generator.synthesis.blocks:
        block: Any = generator.synthesis.get_submodule(name)
        height, width = block.conv1.size
        for layer in (module for module in block.children() if hasattr(module, "weight")):
            up = getattr(layer, "up", 1)
            total += layer.weight.numel() * height * width // up**2
    return 2.0 * batch * total
