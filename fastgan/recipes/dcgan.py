"""Deep convolutional GAN for square images with a power-of-two side.

Source: Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional GANs".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastgan.config import check_range
from fastgan.data import Dataset
from fastgan.errors import ConfigError
from fastgan.networks import DCGANDiscriminator
from fastgan.synthesis.model_file import NetworkSpec
from fastgan.training import (
    AugmentedConfig,
    Edge,
    EMASpec,
    Generation,
    NonSaturating,
    Player,
    Sampler,
    TrainingRecipe,
    adam,
    augmentation_for,
    conditioning_for,
)

NAME = "dcgan"


@dataclass(frozen=True, kw_only=True)
class Config(AugmentedConfig):
    """Settings of DCGAN; the defaults are those of 64 x 64 images."""

    batch: int = 64
    lr_g: float = 2e-4
    lr_d: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    ema_kimg: float = 0.0
    z_dim: int = 100
    """Width of the latent."""
    channels: int = 64
    """Channels at half the image's resolution; they double with every halving, up to 8 times."""
    spectral_norm: bool = False
    """Spectral normalisation in the discriminator, instead of batch normalisation."""
    real_label: float = 1.0
    """Target of the discriminator on reals; 0.9 is one-sided label smoothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("z_dim", "channels"):
            check_range(name, getattr(self, name), low=1)
        check_range("real_label", self.real_label, above=0, high=1)


def smooth() -> Config:
    """Return the settings of dcgan-64 with one-sided label smoothing."""
    return Config(real_label=0.9)


PRESETS: Mapping[str, Callable[[], Config]] = {"dcgan-64": Config, "dcgan-64-smooth": smooth}


def build(config: Config, dataset: Dataset) -> TrainingRecipe:
    """Return the recipe.

    Raises: ConfigError when the dataset does not hold square images.
    """
    shape = tuple(dataset.image_shape)
    if len(shape) != 3 or shape[1] != shape[2]:
        raise ConfigError(f"dcgan: expected square images (C, H, H), the dataset has {shape}")
    common: dict[str, Any] = {
        "c_dim": dataset.c_dim,
        "img_resolution": shape[1],
        "img_channels": shape[0],
        "channels": config.channels,
    }
    spec = NetworkSpec("DCGANGenerator", {"z_dim": config.z_dim, **common})
    discriminator = DCGANDiscriminator(**common, spectral_norm=config.spectral_norm)
    betas = (config.beta1, config.beta2)
    ema = EMASpec(config.ema_kimg, config.ema_ramp) if config.ema_kimg > 0 else None
    return TrainingRecipe(
        players={
            "d": Player({"D": discriminator}, adam(config.lr_d, betas)),
            "g": Player({"G": spec.build()}, adam(config.lr_g, betas), ema=ema),
        },
        edges=(Edge("G", "D"),),
        objective=NonSaturating(config.real_label),
        sampler=Sampler(config.z_dim, dataset),
        generation=Generation(),
        conditioning=conditioning_for(dataset.c_dim),
        augment=augmentation_for(config, shape),
        generator_spec=spec,
    )
