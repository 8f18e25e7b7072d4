"""A run in memory: the recipe's players at work, the data stream, and how far it has come."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from fastgan.config import TrainConfig
from fastgan.data import Dataset, EpochSampler, flips
from fastgan.devices import usable_device
from fastgan.errors import ConfigError
from fastgan.training import distributed
from fastgan.training.context import DataBatch, StepContext
from fastgan.training.draws import Draws, stable_seed
from fastgan.training.player import PlayerState
from fastgan.training.recipe import RecipeModule, Side, TrainingRecipe
from fastgan.training.spans import DATA, Span, unwatched

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass
class TrainingState:
    """Everything a step changes, and what it needs to do so.

    Attributes:
        name: of the recipe.
        config: settings of the run.
        recipe: what is trained.
        dataset: what it is trained on.
        players: networks, optimisers and averages.
        order: the order in which the data is visited.
        device: where.
        step: steps done.
        images_seen: reals shown so far; also the position in the data stream.
        seconds_before: wall time spent in earlier starts of this run.
        started: when this start began, on the monotonic clock.
        stopped: why the run ends before its length is reached, None while it goes on.
        span: marks the parts of a step for a profile, see profile.py.
        alarms: what spoils weights and the guard finds, or suspects, as of its last look; a
            checkpoint with any is not returned to. See guard.py.
        remarks: what else it finds, which calls for advice alone.
        rollbacks: how often the guard took the run back to a checkpoint.
    """

    name: str
    config: TrainConfig
    recipe: TrainingRecipe
    dataset: Dataset
    players: Mapping[Side, PlayerState]
    order: EpochSampler
    device: torch.device
    step: int = 0
    images_seen: int = 0
    seconds_before: float = 0.0
    started: float = field(default_factory=time.monotonic)
    stopped: str | None = None
    span: Span = unwatched
    alarms: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    rollbacks: int = 0

    @property
    def nets(self) -> dict[str, nn.Module]:
        """The networks that are trained, by name."""
        return {name: net for player in self.players.values() for name, net in player.nets.items()}

    @property
    def seconds(self) -> float:
        """Wall time spent on the run, earlier starts included."""
        return self.seconds_before + time.monotonic() - self.started

    @property
    def progress(self) -> float:
        """Fraction of the run that is done, in [0, 1]."""
        return min(self.images_seen / self.config.total_images, 1.0)

    def draws(self, phase: str, batch: int) -> Draws:
        """Return the draws of this process for a phase of the coming step."""
        # The same draws after a roll-back would lead to the same end.
        seed, back = self.config.seed, self.rollbacks
        return Draws(
            stable_seed(seed, "rollback", back) if back else seed,
            self.step,
            phase,
            batch,
            rank=distributed.rank(),
            world=distributed.world(),
            device=self.device,
            dtype=DTYPES[self.config.precision],
        )

    def data(self, first: int, draws: Draws) -> DataBatch:
        """Return the items of the data stream that belong to the samples of `draws`.

        Args:
            first: position of the global batch in the stream.
            draws: says which samples of the batch; no number is drawn.
        """
        with self.span(DATA):
            kept, seed = list(draws.positions), self.config.seed
            indices = self.order.indices(first, draws.batch)[kept]
            mirrored = flips(first, draws.batch, seed)[kept] if self.config.mirror else None
            images, labels = self.dataset.batch(indices, mirrored)
            return images.to(draws.device, draws.dtype), labels.to(draws.device, draws.dtype)

    @torch.no_grad()
    def sample(self, count: int, phase: str = "samples", *, averaged: bool = True) -> Tensor:
        """Return fakes of the first edge's generator, the same latents every time.

        Args:
            count: how many.
            phase: sets which latents.
            averaged: take the averaged generator, where one is kept, rather than the trained one.

        Returns: [count, C, H, W] nominally in [-1, 1], or points [count, D]; float, on the CPU.
        """
        edge = self.recipe.edges[0]
        player = self.players["g"]
        nets = player.sampling_nets if averaged else player.nets
        net, was_training = nets[edge.generator], nets[edge.generator].training
        draws = self.draws(phase, count)
        everything = replace(draws, seed=self.config.seed, step=0, rank=0, world=1)
        size = self.config.micro_batch or self.config.batch
        parts = []
        net.eval()
        for start in range(0, count, size):
            draws = everything.slice(slice(start, start + size))
            ctx = StepContext(self.recipe, nets, "g", draws, partial(self.data, 0, draws))
            parts.append(self.recipe.generation.sample(net, ctx, edge).cpu())
        net.train(was_training)
        return torch.cat(parts)


def start_state(config: TrainConfig, recipe: RecipeModule, dataset: Dataset) -> TrainingState:
    """Seed torch, build the recipe and bring its players to life.

    Raises:
        ConfigError: the device is not there, or settings do not fit the dataset or the number of
            processes.
    """
    device = usable_device(config.device)
    torch.manual_seed(config.seed)
    built = recipe.build(config, dataset)
    _check_batch(config, built)
    players: dict[Side, PlayerState] = {}
    for side, player in built.players.items():
        regularizers = [reg for reg in built.regularizers if reg.side == side]
        players[side] = PlayerState(player, regularizers, device, DTYPES[config.precision])
    order = EpochSampler(len(dataset), config.seed)
    return TrainingState(recipe.NAME, config, built, dataset, players, order, device)


def _check_batch(config: TrainConfig, recipe: TrainingRecipe) -> None:
    world = distributed.world()
    shrink = max([1, *(regularizer.batch_shrink for regularizer in recipe.regularizers)])
    if config.batch < world * shrink:
        raise ConfigError(
            f"batch: expected at least {world * shrink} (processes {world} times the share that "
            f"a regulariser uses, 1/{shrink}), got {config.batch}"
        )
    pack = getattr(config, "pack", 1)
    if pack > 1 and config.batch % (world * pack):
        raise ConfigError(
            f"batch: expected a multiple of {world * pack} (processes {world} times pack {pack}), "
            f"got {config.batch}"
        )
