"""The original GAN with fully connected networks, for points in the plane.

Source: Goodfellow et al. 2014, "Generative Adversarial Nets"; with R1: Mescheder et al. 2018;
with relativistic pairing: Huang et al. 2024 (R3GAN).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from fastgan.config import TrainConfig, check_choice, check_range
from fastgan.data import Dataset
from fastgan.errors import ConfigError
from fastgan.networks import MLPDiscriminator
from fastgan.synthesis.model_file import NetworkSpec
from fastgan.training import (
    R1,
    R2,
    Edge,
    EMASpec,
    Generation,
    Minimax,
    NonSaturating,
    Objective,
    Player,
    RelativisticPairing,
    Sampler,
    TrainingRecipe,
    adam,
    conditioning_for,
)

NAME = "vanilla"

_OBJECTIVES: Mapping[str, Callable[[], Objective]] = {
    "non-saturating": NonSaturating,
    "minimax": Minimax,
    "rpgan": RelativisticPairing,
}


@dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    """Settings of the vanilla GAN; the defaults are the textbook's."""

    batch: int = 128
    lr_g: float = 2e-4
    lr_d: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    ema_kimg: float = 0.0
    z_dim: int = 8
    """Width of the latent."""
    hidden: int = 64
    """Width of the hidden layers."""
    layers: int = 3
    """Number of hidden layers."""
    objective: Literal["non-saturating", "minimax", "rpgan"] = "non-saturating"
    """What the generator minimises; rpgan, relativistic pairing, needs R1 and R2."""
    r1_gamma: float = 0.0
    """Weight of the R1 penalty, in every step; 0 is without."""
    r2_gamma: float = 0.0
    """Weight of the R2 penalty, R1's counterpart on fakes, in every step; 0 is without."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("z_dim", "hidden", "layers"):
            check_range(name, getattr(self, name), low=1)
        check_choice("objective", self.objective, tuple(_OBJECTIVES))
        for name in ("r1_gamma", "r2_gamma"):
            check_range(name, getattr(self, name), low=0)


def ring8() -> Config:
    """Learns eight modes on a ring in 1,200 steps without a regulariser."""
    return Config(lr_g=1e-3, lr_d=1e-3, beta1=0.0, beta2=0.9, total_kimg=153.6)


def ring8_r1() -> Config:
    """As ring8, with R1, which brings the mode weights much closer to uniform."""
    return Config(
        lr_g=1e-3, lr_d=1e-3, beta1=0.0, beta2=0.9, total_kimg=153.6, r1_gamma=0.1
    )  # fmt: skip


def ring8_r3gan() -> Config:
    """As ring8, with the objective of R3GAN: relativistic pairing, R1 and R2."""
    return replace(ring8_r1(), objective="rpgan", r2_gamma=0.1)


PRESETS: Mapping[str, Callable[[], Config]] = {
    "vanilla-textbook": Config,
    "vanilla-ring8": ring8,
    "vanilla-ring8-r1": ring8_r1,
    "vanilla-ring8-r3gan": ring8_r3gan,
}


def build(config: Config, dataset: Dataset) -> TrainingRecipe:
    """Return the recipe.

    Raises: ConfigError when the dataset holds images instead of points.
    """
    if len(dataset.image_shape) != 1:
        shape = tuple(dataset.image_shape)
        raise ConfigError(f"vanilla: expected points (D,), the dataset has {shape}; try dcgan")
    dim, widths = dataset.image_shape[0], {"hidden": config.hidden, "layers": config.layers}
    spec = NetworkSpec(
        "MLPGenerator",
        {"z_dim": config.z_dim, "out_dim": dim, "c_dim": dataset.c_dim, **widths},
    )
    discriminator = MLPDiscriminator(
        dim, hidden=config.hidden, layers=config.layers, c_dim=dataset.c_dim
    )
    penalties = (R1(config.r1_gamma), R2(config.r2_gamma))
    betas = (config.beta1, config.beta2)
    ema = EMASpec(config.ema_kimg, config.ema_ramp) if config.ema_kimg > 0 else None
    return TrainingRecipe(
        players={
            "d": Player({"D": discriminator}, adam(config.lr_d, betas)),
            "g": Player({"G": spec.build()}, adam(config.lr_g, betas), ema=ema),
        },
        edges=(Edge("G", "D"),),
        objective=_OBJECTIVES[config.objective](),
        sampler=Sampler(config.z_dim, dataset),
        generation=Generation(),
        conditioning=conditioning_for(dataset.c_dim),
        regularizers=tuple(penalty for penalty in penalties if penalty.gamma > 0),
        generator_spec=spec,
    )
