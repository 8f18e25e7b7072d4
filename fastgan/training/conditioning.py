"""What networks are told beside their input: nothing, or labels. No network is called here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from fastgan.training.context import StepContext
    from fastgan.training.recipe import Edge


class Conditioning:
    """No condition: networks are called with c = None.

    A subclass returns what goes into G and D as `c`: labels below, for pix2pix the source image.
    """

    def of_real(self, ctx: StepContext, edge: Edge) -> Tensor | None:
        """Return c of the reals of `edge`, [N, ...]."""
        return None

    def of_fake(self, ctx: StepContext, edge: Edge) -> Tensor | None:
        """Return c of the fakes of `edge`, [N, ...]: the one that G was given."""
        return None


class LabelConditioning(Conditioning):
    """Labels [N, c_dim]: those of the data for reals, drawn from the data's labels for fakes."""

    def of_real(self, ctx: StepContext, edge: Edge) -> Tensor | None:
        return ctx.labels

    def of_fake(self, ctx: StepContext, edge: Edge) -> Tensor | None:
        return ctx.recipe.sampler.draw_labels(ctx.draws)


def conditioning_for(c_dim: int) -> Conditioning:
    """Return label conditioning when there are labels, else none."""
    return LabelConditioning() if c_dim > 0 else Conditioning()
