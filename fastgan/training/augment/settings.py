"""Settings of the augmentation, for recipes of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fastgan.config import TrainConfig, check_choice, check_range
from fastgan.errors import ConfigError
from fastgan.training.augment.base import Augmentation
from fastgan.training.augment.color import COLOR_CHANNELS
from fastgan.training.augment.controller import AdaptiveAugmentation, FixedAugmentation
from fastgan.training.augment.diffaugment import DiffAugment, parse_policy
from fastgan.training.augment.pipeline import BUNDLES


@dataclass(frozen=True, kw_only=True)
class AugmentedConfig(TrainConfig):
    """What every recipe of images can be told about augmentation."""

    augment: Literal["none", "ada", "fixed", "diffaugment"] = "none"
    """Augment what the discriminator sees, for small data sets. ada adapts how often to how much
    the discriminator overfits, fixed does so with probability augment_p, diffaugment always."""
    augment_bundle: Literal[
        "blit", "geom", "color", "filter", "noise", "cutout", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc"
    ] = "bgc"
    """Transforms of ada and fixed: a group of them, or the first letters of several groups."""
    augment_p: float = 0.2
    """Probability of each transform, for fixed."""
    ada_target: float = 0.6
    """Mean sign of the discriminator's output on reals (r_t in the metrics) that ada holds."""
    ada_kimg: float = 500.0
    """Thousands of images in which ada's probability can go from 0 to 1; fewer for short runs."""
    diffaugment_policy: str = "color,translation,cutout"
    """Transforms of diffaugment: some of color, translation, cutout."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("augment", self.augment, ("none", "ada", "fixed", "diffaugment"))
        check_choice("augment_bundle", self.augment_bundle, tuple(BUNDLES))
        check_range("augment_p", self.augment_p, low=0, high=1)
        check_range("ada_target", self.ada_target, above=-1, below=1)
        check_range("ada_kimg", self.ada_kimg, above=0)
        parse_policy(self.diffaugment_policy)


def augmentation_for(config: AugmentedConfig, image_shape: Sequence[int]) -> Augmentation | None:
    """Return the augmentation that the settings ask for, or None.

    Args:
        config: the settings.
        image_shape: (C, H, W) of the data.

    Raises: ConfigError when a bundle with colour is asked for images that are not of 1, 3 or 4
        channels.
    """
    if config.augment == "none":
        return None
    if config.augment == "diffaugment":
        return DiffAugment(config.diffaugment_policy)
    channels, bundle = image_shape[0], config.augment_bundle
    if "brightness" in BUNDLES[bundle] and channels not in COLOR_CHANNELS:
        raise ConfigError(
            f"augment_bundle: {bundle} changes colours, which needs images of 1 (grey), 3 (RGB) or "
            f"4 (RGBA) channels, got {channels}; take blit, geom or bg"
        )
    if config.augment == "fixed":
        return FixedAugmentation(bundle, config.augment_p)
    return AdaptiveAugmentation(bundle, config.ada_target, config.ada_kimg)
