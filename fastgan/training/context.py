"""What one forward and backward pass has at hand: reals, fakes and logits, each computed once.

Objectives and regularisers read a StepContext; they cause a forward pass by asking for it, and
share it with whoever asks again. When updates happen is decided in step.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TypeAlias, TypeVar, cast

import torch
from torch import Tensor, nn

from fastgan.networks import DiscriminatorOutput
from fastgan.training.draws import Draws
from fastgan.training.generation import Generated
from fastgan.training.recipe import Edge, Side, TrainingRecipe

DataBatch: TypeAlias = tuple[Tensor, Tensor]
T = TypeVar("T")


class StepContext:
    """One micro-batch of one update.

    In an update of D fakes carry no graph to G. In one of G reals are judged without a graph.
    Reals and fakes go through D separately: statistics over a batch (batch norm, minibatch
    standard deviation) must not mix them.

    Args:
        recipe: what is trained.
        nets: all networks by name.
        side: the player that is updated.
        draws: random numbers of this micro-batch.
        data: returns the micro-batch of data, images and labels; called at most once.
        needs_input_grad: in an update of D, keep the graph from logits to images, which gradient
            penalties differentiate.
        progress: fraction of the run that is done, in [0, 1].
    """

    def __init__(
        self,
        recipe: TrainingRecipe,
        nets: Mapping[str, nn.Module],
        side: Side,
        draws: Draws,
        data: Callable[[], DataBatch],
        *,
        needs_input_grad: bool = False,
        progress: float = 0.0,
    ) -> None:
        self.recipe, self.nets, self.side, self.draws = recipe, nets, side, draws
        self.progress = progress
        self.recorded: dict[str, Tensor] = {}
        self._data = data
        self._needs_input_grad = needs_input_grad and side == "d"
        self._cache: dict[tuple[str, Edge], object] = {}

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The games of the recipe."""
        return self.recipe.edges

    @cached_property
    def batch(self) -> DataBatch:
        """The micro-batch of data: images [N, ...] and labels [N, c_dim]."""
        return self._data()

    @property
    def labels(self) -> Tensor:
        """Labels of the reals, [N, c_dim]."""
        return self.batch[1]

    def real(self, edge: Edge) -> Tensor:
        """Return the reals of `edge`; a leaf that requires a gradient where penalties need it."""
        return self._once("real", edge, lambda: self._leaf(self._pick(edge.real)))

    def generator_input(self, edge: Edge) -> Tensor:
        """Return latents [N, z_dim], or the edge's source images."""
        if edge.source is not None:
            return self._pick(edge.source)
        sampler = self.recipe.sampler
        return self._once("z", edge, lambda: sampler.latents(self.draws.scoped(edge.generator)))

    def fake_condition(self, edge: Edge) -> Tensor | None:
        """Return what the generator of `edge` is told, and D about its fakes."""
        return self._once("c", edge, lambda: self.recipe.conditioning.of_fake(self, edge))

    def generated(self, edge: Edge) -> Generated:
        """Return fakes and their intermediate latents, with a graph to G if G is updated."""
        return self._once("generated", edge, lambda: self._generate(edge))

    def fake(self, edge: Edge) -> Tensor:
        """Return the fakes of `edge`."""
        return self.generated(edge).images

    def d_real(self, edge: Edge) -> DiscriminatorOutput:
        """Return D on reals; without a graph in an update of G."""
        with torch.set_grad_enabled(self.side == "d"):
            return self._once("d_real", edge, lambda: self._judge_real(edge))

    def d_fake(self, edge: Edge) -> DiscriminatorOutput:
        """Return D on fakes."""
        condition = self.fake_condition(edge)
        return self._once(
            "d_fake", edge, lambda: self.judge(edge, self.fake(edge), condition, "fake")
        )

    def judge(
        self, edge: Edge, images: Tensor, condition: Tensor | None, name: str
    ) -> DiscriminatorOutput:
        """Return D on any images; `name` keeps the draws of the augmentation apart."""
        if self.recipe.augment is not None:
            draws = self.draws.scoped(f"{edge.discriminator}/{name}")
            images = self.recipe.augment(images, draws)
        output: DiscriminatorOutput = self.nets[edge.discriminator](images, condition)
        return output

    def record(self, name: str, mean: Tensor) -> None:
        """Note the mean over this micro-batch of something to log or to follow.

        The step averages it over the global batch. Of a name noted twice the last one counts.
        """
        self.recorded[name] = mean.detach()

    def _once(self, kind: str, edge: Edge, compute: Callable[[], T]) -> T:
        key = (kind, edge)
        if key not in self._cache:
            self._cache[key] = compute()
        return cast(T, self._cache[key])

    def _generate(self, edge: Edge) -> Generated:
        net = self.nets[edge.generator]
        if self.side == "g":
            return self.recipe.generation.train(net, self, edge)
        with torch.no_grad():
            made = self.recipe.generation.train(net, self, edge)
        return Generated(self._leaf(made.images), made.latents)

    def _judge_real(self, edge: Edge) -> DiscriminatorOutput:
        condition = self.recipe.conditioning.of_real(self, edge)
        return self.judge(edge, self.real(edge), condition, "real")

    def _pick(self, choose: Callable[[Tensor], Tensor] | None) -> Tensor:
        images = self.batch[0]
        return images if choose is None else choose(images)

    def _leaf(self, images: Tensor) -> Tensor:
        return images.detach().requires_grad_(self._needs_input_grad)
