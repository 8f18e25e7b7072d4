"""Augmentation of what the discriminator sees, real or fake: ADA and DiffAugment.

Plain functions of images and random numbers; `Augmentation` is what a recipe holds. A file each
for geometry, color, image_filter and corruption (noise, cutout).
"""

from fastgan.training.augment.base import Augmentation
from fastgan.training.augment.controller import AdaptiveAugmentation, FixedAugmentation
from fastgan.training.augment.diffaugment import DiffAugment
from fastgan.training.augment.pipeline import BUNDLES, augment
from fastgan.training.augment.settings import AugmentedConfig, augmentation_for

__all__ = [
    "BUNDLES",
    "AdaptiveAugmentation",
    "Augmentation",
    "AugmentedConfig",
    "DiffAugment",
    "FixedAugmentation",
    "augment",
    "augmentation_for",
]
