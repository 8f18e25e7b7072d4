"""The one training step: which updates are due, and how one update is carried out.

Every GAN of the package runs through here. A method that differentiates through the training of
D, or the like, overrides a method of Step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from fastgan.training import distributed
from fastgan.training.compiled import blocking, compiled_nets, frozen
from fastgan.training.context import StepContext
from fastgan.training.draws import Draws
from fastgan.training.memory import Untouched, repeat_until_it_fits
from fastgan.training.player import gradient_norm
from fastgan.training.recipe import Side
from fastgan.training.regularizers import Regularizer
from fastgan.training.spans import EMA, OPTIMIZER
from fastgan.training.state import TrainingState

Means: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True)
class Phase:
    """One update of one player.

    Attributes:
        name: keeps its draws apart from those of the other updates of the step.
        side: the player.
        is_main: the objective is part of the loss.
        regularizers: penalties that are part of the loss.
        first_real: where its reals start in the data stream.
        batch: size of the global batch.
    """

    name: str
    side: Side
    is_main: bool
    regularizers: tuple[Regularizer, ...]
    first_real: int
    batch: int

    @property
    def part(self) -> str:
        """What a profile calls it: "D" or "G" with the objective, else the lazy penalty's name."""
        names = "" if self.is_main else "+".join(reg.name for reg in self.regularizers)
        return names or self.side.upper()


class Step:
    """Carries out one step of a run.

    D's main updates come first, then D's lazy penalties, G's main update and G's lazy penalties,
    each an optimiser step of its own; then the averages move.
    """

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self._compiled = compiled_nets(state)
        self._untouched = Untouched(state)

    def __call__(self) -> dict[str, Tensor]:
        """Train for one step; return the means that its updates recorded, over the global batch."""
        state, batch = self.state, self.state.config.batch
        means: dict[str, Tensor] = {}
        for phase in self.phases():
            with state.span(phase.part):
                means |= self.update(phase)
        with state.span(EMA):
            for player in state.players.values():
                if player.ema is not None:
                    player.ema.update(batch, state.images_seen)
        state.images_seen += batch * max(state.recipe.critic_updates(state.step), 1)
        state.step += 1
        return means

    def phases(self) -> Iterator[Phase]:
        """List the updates that are due at this step, in order."""
        critic_updates = self.state.recipe.critic_updates(self.state.step)
        for index in range(critic_updates):
            yield self._main("d", f"d{index}", index, is_game=True)
        last = max(critic_updates - 1, 0)
        if critic_updates > 0:
            yield from self._lazy("d", last)
        yield self._main("g", "g", last, is_game=critic_updates > 0)
        yield from self._lazy("g", last)

    def update(self, phase: Phase) -> dict[str, Tensor]:
        """Accumulate the gradient of a phase over micro-batches and step its player's optimiser."""
        state, player = self.state, self.state.players[phase.side]
        totals = repeat_until_it_fits(
            self._untouched, phase.side, phase.part, partial(self.accumulate, phase)
        )
        distributed.sum_over_processes(list(totals.values()))
        with state.span(OPTIMIZER):
            player.update(state.progress)
        if phase.side == "g" and phase.is_main:
            totals["grad_g"] = gradient_norm(player.parameters)

        for regularizer in phase.regularizers:
            regularizer.after_update(totals)
        if phase.side == "d" and phase.is_main and state.recipe.augment is not None:
            totals |= state.recipe.augment.after_update(totals, phase.batch)
        if phase.side == "g" and phase.is_main:
            for edge in state.recipe.edges:
                state.recipe.generation.after_update(player.nets[edge.generator], edge, totals)
        return totals

    def accumulate(self, phase: Phase) -> dict[str, Tensor]:
        """Compute the gradient of a phase, and what it records, over this process's share."""
        state, player = self.state, self.state.players[phase.side]
        with state.span(OPTIMIZER):
            player.zero_grad()
        totals: dict[str, Tensor] = {}
        other = state.players["g" if phase.side == "d" else "d"].parameters
        with frozen(other) if self.is_compiled(phase) else nullcontext():
            for draws in self._micro_batches(phase):
                ctx = self.context(phase, draws)
                share = len(draws) / phase.batch  # of the global batch, so that sums are means
                loss = self.loss(phase, ctx)
                (loss * share).backward(inputs=player.parameters)
                for name, mean in ctx.recorded.items():
                    totals[name] = totals.get(name, 0) + mean * share
        return totals

    def is_compiled(self, phase: Phase) -> bool:
        """Whether the networks of this phase run through the compiler."""
        return self._compiled is not None and phase.is_main and not blocking(phase.regularizers)

    def context(self, phase: Phase, draws: Draws) -> StepContext:
        """Return what the loss of one micro-batch is computed from."""
        handles = self._compiled if self.is_compiled(phase) else None
        return StepContext(
            self.state.recipe,
            self.state.nets if handles is None else handles,
            phase.side,
            draws,
            partial(self.state.data, phase.first_real, draws),
            needs_input_grad=any(reg.needs_second_order for reg in phase.regularizers),
            progress=self.state.progress,
        )

    def loss(self, phase: Phase, ctx: StepContext) -> Tensor:
        """Return what the player minimises in this phase: the game and the penalties due."""
        terms = []
        if phase.is_main:
            terms.append(self.d_game(ctx) if phase.side == "d" else self.g_game(ctx))
        for regularizer in phase.regularizers:
            penalty = regularizer(ctx)
            ctx.record(regularizer.name, penalty)
            terms.append(penalty * regularizer.every)
        return torch.stack(terms).sum()

    def d_game(self, ctx: StepContext) -> Tensor:
        """Return D's objective, summed over edges."""
        losses, real_right, fake_right, real_sign = [], [], [], []
        for edge in ctx.edges:
            real, fake = ctx.d_real(edge), ctx.d_fake(edge)
            losses.append(ctx.recipe.objective.d_loss(real, fake))
            of_real, of_fake = ctx.recipe.objective.margins(real, fake)
            real_sign.append(of_real.detach().sign().mean())
            real_right.append((of_real > 0).to(losses[0].dtype).mean())
            fake_right.append((of_fake > 0).to(losses[0].dtype).mean())
        ctx.record("r_t", torch.stack(real_sign).mean())  # near 1: D knows the reals by heart
        ctx.record("d_real_accuracy", torch.stack(real_right).mean())
        ctx.record("d_fake_accuracy", torch.stack(fake_right).mean())
        loss = torch.stack(losses).sum()
        ctx.record("loss_d", loss)
        return loss

    def g_game(self, ctx: StepContext) -> Tensor:
        """Return G's objective, summed over edges."""
        objective, losses = ctx.recipe.objective, []
        for edge in ctx.edges:
            real = ctx.d_real(edge) if objective.needs_real_in_g else None
            losses.append(objective.g_loss(ctx.d_fake(edge), real))
        loss = torch.stack(losses).sum()
        ctx.record("loss_g", loss)
        return loss

    def _main(self, side: Side, name: str, index: int, *, is_game: bool) -> Phase:
        regularizers = self._regularizers(side, lazy=False)
        return Phase(name, side, is_game, regularizers, self._reals(index), self._batch())

    def _lazy(self, side: Side, index: int) -> Iterator[Phase]:
        for reg in self._regularizers(side, lazy=True):
            if self.state.step % reg.every == 0:
                batch = self._batch() // reg.batch_shrink
                name = f"{side}_{reg.name}"
                yield Phase(name, side, False, (reg,), self._reals(index), batch)

    def _regularizers(self, side: Side, *, lazy: bool) -> tuple[Regularizer, ...]:
        every = self.state.recipe.regularizers
        return tuple(reg for reg in every if reg.side == side and reg.is_lazy == lazy)

    def _reals(self, index: int) -> int:
        return self.state.images_seen + index * self._batch()

    def _batch(self) -> int:
        return self.state.config.batch

    def _micro_batches(self, phase: Phase) -> Iterator[Draws]:
        draws = self.state.draws(phase.name, phase.batch)
        micro = self.state.config.micro_batch or self._batch()
        size = max(micro * phase.batch // self._batch(), 1)
        for start in range(0, len(draws), size):
            yield draws.slice(slice(start, start + size))
