"""Penalties added to what a player minimises. When one is due is decided in step.py.

A regulariser with `every` = 1 is part of the player's main update and shares its forward passes.
A lazy one (`every` > 1) gets its own update of the same optimiser every so many steps, scaled by
`every`, so that its strength does not depend on how lazy it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fastgan.config import check_range
from fastgan.errors import CheckpointError

if TYPE_CHECKING:
    from fastgan.networks import DiscriminatorOutput
    from fastgan.training.context import StepContext
    from fastgan.training.recipe import Side


class Regularizer:
    """A penalty on one player.

    Attributes:
        name: key in logs and checkpoints, unique in a recipe.
        side: the player it is added to.
        every: it is due at steps 0, every, 2 every, ...
        batch_shrink: it is computed on this fraction, 1 / batch_shrink, of the batch.
        needs_second_order: it differentiates a gradient, so the networks it touches must be twice
            differentiable; on side "d" the context then keeps the graph to the images.
    """

    name: str
    side: Side
    every: int = 1
    batch_shrink: int = 1
    needs_second_order: bool = False

    def __call__(self, ctx: StepContext) -> Tensor:
        """Return the penalty on the micro-batch of `ctx`, a scalar, summed over edges."""
        raise NotImplementedError

    @property
    def is_lazy(self) -> bool:
        """Whether it has updates of its own."""
        return self.every > 1 or self.batch_shrink > 1

    def after_update(self, means: Mapping[str, Tensor]) -> None:
        """Follow statistics, after an update this regulariser took part in.

        Args:
            means: what `ctx.record` noted, averaged over the global batch.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a checkpoint has to keep."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        if state:
            raise CheckpointError(f"{self.name} keeps no state, got {', '.join(state)}")


class R1(Regularizer):
    """Penalise the gradient of D at real images.

    r1 = gamma / 2 * mean_n |d D(x_n) / d x_n|^2, the squares summed over pixels and channels;
    a patch discriminator's D(x_n) is the mean of its patches.

    Args:
        gamma: weight, at least 0.
        every: steps between penalties.
        schedule: factor on gamma as a function of the run's progress in [0, 1].

    Source: Mescheder et al. 2018, equation 9; lazy: Karras et al. 2020 (StyleGAN2), appendix B.
    """

    name = "r1"
    side = "d"
    needs_second_order = True

    def __init__(
        self, gamma: float, every: int = 1, schedule: Callable[[float], float] | None = None
    ) -> None:
        check_range("r1 gamma", gamma, low=0)
        check_range("r1 every", every, low=1)
        self.gamma, self.every, self.schedule = gamma, every, schedule

    def __call__(self, ctx: StepContext) -> Tensor:
        penalties = [_squared_slope(ctx.d_real(edge), ctx.real(edge)) for edge in ctx.edges]
        return torch.stack(penalties).sum() * (self.gamma_at(ctx.progress) / 2)

    def gamma_at(self, progress: float) -> float:
        """Return the weight at this point of the run."""
        return self.gamma if self.schedule is None else self.gamma * self.schedule(progress)


class R2(R1):
    """Penalise the gradient of D at fakes.

    r2 = gamma / 2 * mean_n |d D(G(z_n)) / d G(z_n)|^2, as in `R1`. With both, D is kept from
    winning by what its fakes look like before the generator can follow.

    Source: Mescheder et al. 2018, equation 10; with R1: Huang et al. 2024 (R3GAN), section 3.
    """

    name = "r2"

    def __call__(self, ctx: StepContext) -> Tensor:
        penalties = [_squared_slope(ctx.d_fake(edge), ctx.fake(edge)) for edge in ctx.edges]
        return torch.stack(penalties).sum() * (self.gamma_at(ctx.progress) / 2)


def _squared_slope(output: DiscriminatorOutput, images: Tensor) -> Tensor:
    logits = output.logits.flatten(1).mean(dim=1)  # [N]
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean()


class PathLength(Regularizer):
    """Ask G for steps in image space of the same length for steps of the same length in w.

    pl = weight * mean_n (|J_n^T y| - a)^2, with y normal image noise / sqrt(H W), |.| the root of
    the mean over layers of the squared norm in w, and a the running mean of the lengths.

    The penalty uses `a` as it was before the update, and `a` then moves by the mean length of the
    global batch. The published form moves `a` first, by the mean of whichever process and
    micro-batch is at hand, which makes the result depend on how the batch is divided.

    Args:
        weight: at least 0.
        every: steps between penalties.
        decay: rate at which `a` follows the lengths, in (0, 1].
        batch_shrink: fraction of the batch to use, as in Regularizer.

    Source: Karras et al. 2020 (StyleGAN2), section 3.2 and appendix B.
    """

    name = "pl"
    side = "g"
    needs_second_order = True

    def __init__(
        self, weight: float = 2.0, every: int = 4, decay: float = 0.01, batch_shrink: int = 2
    ) -> None:
        check_range("path length weight", weight, low=0)
        check_range("path length every", every, low=1)
        check_range("path length decay", decay, above=0, high=1)
        check_range("path length batch_shrink", batch_shrink, low=1)
        self.weight, self.every, self.decay = weight, every, decay
        self.batch_shrink = batch_shrink
        self.mean_length = torch.zeros((), dtype=torch.float64)

    def __call__(self, ctx: StepContext) -> Tensor:
        lengths = torch.stack([path_lengths(ctx, edge.generator) for edge in ctx.edges])  # [E, N]
        ctx.record("pl_length", lengths.mean())
        target = self.mean_length.to(lengths)
        return (lengths - target).square().mean(dim=1).sum() * self.weight

    def after_update(self, means: Mapping[str, Tensor]) -> None:
        length = means["pl_length"].to(self.mean_length)
        self.mean_length = self.mean_length.lerp(length, self.decay)

    def state_dict(self) -> dict[str, Tensor]:
        return {"mean_length": self.mean_length}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if set(state) != {"mean_length"}:
            raise CheckpointError(f"pl: expected mean_length, got {', '.join(state) or 'nothing'}")
        self.mean_length = state["mean_length"].to(self.mean_length)


def path_lengths(ctx: StepContext, generator: str) -> Tensor:
    """Return |J^T y| for each fake of a generator, [N]; see PathLength.

    Raises: ValueError when the recipe's generation does not return intermediate latents.
    """
    edge = next(edge for edge in ctx.edges if edge.generator == generator)
    made = ctx.generated(edge)
    if made.latents is None:
        raise ValueError(f"path length: {generator} returns no intermediate latents w")
    images = made.images
    noise = ctx.draws.scoped(generator).normal("path_length", images.shape[1:])
    noise = noise / math.sqrt(images.shape[2:].numel())
    (gradient,) = torch.autograd.grad(
        (images * noise).sum(), made.latents, create_graph=True
    )  # [N, num_ws, w_dim]
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()
