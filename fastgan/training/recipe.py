"""What a GAN is to the training loop: players, edges, an objective, regularisers.

A recipe is data. It names no device, keeps no counters and runs nothing: see step.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from torch import Tensor, nn

from fastgan.config import TrainConfig
from fastgan.data import Dataset
from fastgan.errors import ConfigError
from fastgan.synthesis.model_file import NetworkSpec
from fastgan.training.objectives import Objective
from fastgan.training.optimizers import OptimizerFactory

if TYPE_CHECKING:  # these take a context, which is made from a recipe
    from fastgan.training.augment import Augmentation
    from fastgan.training.conditioning import Conditioning
    from fastgan.training.generation import Generation
    from fastgan.training.hooks import Hook
    from fastgan.training.regularizers import Regularizer
    from fastgan.training.sampler import Sampler
    from fastgan.training.step import Step

Side: TypeAlias = Literal["d", "g"]


@dataclass(frozen=True)
class EMASpec:
    """Average the weights with a half-life in images.

    Attributes:
        kimg: half-life, in thousands of images.
        ramp: limits the half-life to this fraction of the images seen so far; None: no limit.
        rise_kimg: the half-life grows from 0 to `kimg` along half a cosine over so many thousands
            of images; None: it is there from the start.
    """

    kimg: float
    ramp: float | None = None
    rise_kimg: float | None = None


@dataclass(frozen=True)
class Player:
    """Networks that share one optimiser.

    Attributes:
        nets: by name; names are unique over both players.
        optimizer: makes the optimiser, see optimizers.py.
        schedule: factor on the learning rate as a function of progress in [0, 1].
        beta2: Adam's second beta, before the lazy correction, as a function of progress.
        ema: average the weights of these networks; None keeps no average.
    """

    nets: Mapping[str, nn.Module]
    optimizer: OptimizerFactory
    schedule: Callable[[float], float] | None = None
    beta2: Callable[[float], float] | None = None
    ema: EMASpec | None = None


@dataclass(frozen=True)
class Edge:
    """One game: a discriminator tells this generator's fakes from reals.

    Attributes:
        generator, discriminator: names of networks of the players "g" and "d".
        real: picks this edge's reals from a batch of data; None takes the batch as it is.
        source: picks the generator's input from a batch of data (image to image); None draws
            latents.
    """

    generator: str
    discriminator: str
    real: Callable[[Tensor], Tensor] | None = None
    source: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class TrainingRecipe:
    """Everything that sets one GAN apart from another.

    Attributes:
        players: "d" and "g".
        edges: the games; losses are summed over them.
        objective: what the players minimise on the logits of an edge.
        sampler: latents and labels.
        generation: how fakes are made from a generator, see generation.py.
        conditioning: what networks are told beside their input, see conditioning.py.
        regularizers: penalties, see regularizers.py.
        n_critic: updates of D per step, or a function of the step. At 0 there is no game in this
            step: G is trained by its regularisers alone (pre-training).
        augment: applied to every image that a discriminator sees, real or fake, see augment/.
        step_type: a subclass of Step, for methods that change the step itself; None is Step.
        hooks: the recipe's own hooks; logging and checkpoints come from the loop.
        generator_spec: how the model file says to rebuild the first edge's generator; None
            writes no model file.
    """

    players: Mapping[Side, Player]
    edges: tuple[Edge, ...]
    objective: Objective
    sampler: Sampler
    generation: Generation
    conditioning: Conditioning
    regularizers: tuple[Regularizer, ...] = ()
    n_critic: int | Callable[[int], int] = 1
    augment: Augmentation | None = None
    step_type: type[Step] | None = None
    hooks: tuple[Hook, ...] = ()
    generator_spec: NetworkSpec | None = None

    def __post_init__(self) -> None:
        if set(self.players) != {"d", "g"} or not self.edges:
            raise ConfigError('a recipe needs players "d" and "g" and at least one edge')
        shared = set(self.players["d"].nets) & set(self.players["g"].nets)
        if shared:
            raise ConfigError(f"both players have a network named {', '.join(sorted(shared))}")
        for edge in self.edges:
            self._check_net(edge.generator, "g")
            self._check_net(edge.discriminator, "d")
        names = [regularizer.name for regularizer in self.regularizers]
        if len(set(names)) < len(names):
            raise ConfigError(f"two regularisers have the same name: {', '.join(sorted(names))}")

    def _check_net(self, name: str, side: Side) -> None:
        if name not in self.players[side].nets:
            known = ", ".join(self.players[side].nets)
            raise ConfigError(f'edge: player "{side}" has no network {name!r}, it has {known}')

    def critic_updates(self, step: int) -> int:
        """Return how many updates of D the step has."""
        return self.n_critic(step) if callable(self.n_critic) else self.n_critic


class RecipeModule(Protocol):
    """A file in `fastgan/recipes`: what the command line and the loop need to know of it."""

    NAME: str
    Config: Any
    """The recipe's settings, a subclass of TrainConfig."""
    PRESETS: Mapping[str, Callable[[], Any]]
    """Settings by name."""

    def build(self, config: Any, dataset: Dataset) -> TrainingRecipe:
        """Make networks and everything else; torch's global generator is seeded already."""


__all__ = [
    "EMASpec",
    "Edge",
    "Player",
    "RecipeModule",
    "Side",
    "TrainConfig",
    "TrainingRecipe",
]
