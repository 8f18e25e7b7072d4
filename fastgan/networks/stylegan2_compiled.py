"""A handle on a StyleGAN2 generator whose two networks run through a compiler.

The noise is drawn before the compiled code runs: a seeded generator has no place in a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from fastgan.networks.stylegan2_generator import StyleGAN2Generator
from fastgan.networks.stylegan2_synthesis import NoiseSource, SynthesisLayer


class CompiledStyleGAN2Generator(nn.Module):
    """What training calls of a StyleGAN2Generator, on its parameters.

    Args:
        net: the generator.
        compiler: wraps a module or a function, as torch.compile does.
    """

    def __init__(self, net: StyleGAN2Generator, compiler: Callable[..., Any]) -> None:
        super().__init__()
        self.z_dim, self.num_ws = net.z_dim, net.num_ws
        self.mapping = compiler(net.mapping)
        layers = [m for m in net.synthesis.modules() if isinstance(m, SynthesisLayer)]
        self._sizes = {layer.index: layer.size for layer in layers if layer.use_noise}

        def render(ws: Tensor, drawn: Mapping[int, Tensor]) -> Tensor:
            images: Tensor = net.synthesis(ws, noise=lambda index, height, width: drawn[index])
            return images

        self._render = compiler(render)

    def synthesis(self, ws: Tensor, *, noise: NoiseSource) -> Tensor:
        """Render images [N, C, H, W] from styles [N, num_ws, w_dim]."""
        drawn = {index: noise(index, *size) for index, size in self._sizes.items()}
        images: Tensor = self._render(ws, drawn)
        return images
