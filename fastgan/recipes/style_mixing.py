"""How fakes of a StyleGAN2 are made in training: style mixing, and the running mean of w.

Source: Karras et al. 2019, "A Style-Based Generator Architecture for GANs", section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from fastgan.networks import CompiledStyleGAN2Generator, StyleGAN2Generator, mix_styles
from fastgan.training import Edge, Generated, Generation, StepContext


class StyleMixing(Generation):
    """Fakes from w, some with styles of a second latent, and the running mean of w.

    Args:
        probability: that a fake is mixed.
    """

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def train(self, net: nn.Module, ctx: StepContext, edge: Edge) -> Generated:
        generator, draws = cast(StyleGAN2Generator, net), ctx.draws.scoped(edge.generator)
        condition = ctx.fake_condition(edge)
        ws = generator.mapping(ctx.generator_input(edge), condition)  # [N, num_ws, w_dim]
        ctx.record(f"{edge.generator}/mean_w", ws[:, 0].mean(dim=0))
        if self.probability > 0:
            second = generator.mapping(draws.normal("z_mixing", (generator.z_dim,)), condition)
            cut = draws.integers("mixing_cut", 1, generator.num_ws)
            is_mixed = draws.bernoulli("is_mixed", self.probability)
            cut = torch.where(is_mixed, cut, generator.num_ws)
            ws = mix_styles(ws, second, cut)
        return Generated(generator.synthesis(ws, noise=draws.layer_noise()), ws)

    def compiled(self, net: nn.Module, compiler: Callable[..., Any]) -> nn.Module:
        return CompiledStyleGAN2Generator(cast(StyleGAN2Generator, net), compiler)

    def sample(self, net: nn.Module, ctx: StepContext, edge: Edge) -> Tensor:
        images: Tensor = net(
            ctx.generator_input(edge), ctx.fake_condition(edge), noise_mode="const"
        )
        return images

    def after_update(self, net: nn.Module, edge: Edge, means: Mapping[str, Tensor]) -> None:
        cast(StyleGAN2Generator, net).mapping.update_average(means[f"{edge.generator}/mean_w"])
