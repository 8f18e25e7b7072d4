"""The pipeline of adaptive discriminator augmentation, and its named bundles.

Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data".
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from fastgan.config import check_choice
from fastgan.training.augment.chances import Chances
from fastgan.training.augment.color import apply_color
from fastgan.training.augment.corruption import apply_cutout, apply_noise
from fastgan.training.augment.geometry import apply_geometry
from fastgan.training.augment.image_filter import apply_filter
from fastgan.training.draws import Draws

_GROUPS = {
    "blit": ("xflip", "rotate90", "xint"),
    "geom": ("scale", "rotate", "aniso", "xfrac"),
    "color": ("brightness", "contrast", "lumaflip", "hue", "saturation"),
    "filter": ("imgfilter",),
    "noise": ("noise",),
    "cutout": ("cutout",),
}


def _bundles() -> dict[str, frozenset[str]]:
    order = tuple(_GROUPS.values())
    bundles = {name: frozenset(transforms) for name, transforms in _GROUPS.items()}
    for count, name in enumerate(("bg", "bgc", "bgcf", "bgcfn", "bgcfnc"), start=2):
        bundles[name] = frozenset(sum(order[:count], ()))
    return bundles


BUNDLES = _bundles()
"""Transforms by the name of their bundle; "bgc" is blit, geom and color, and so on."""


def augment(images: Tensor, draws: Draws, probability: float | Tensor, bundle: str) -> Tensor:
    """Return images with each transform of a bundle applied to each sample by chance.

    A sample that no transform is applied to stays as it is, bit for bit. Differentiable in the
    images, to any order.

    Args:
        images: [N, C, H, W], float32 or float64; C is 1, 3 or 4 for bundles with colour.
        draws: of these samples.
        probability: of each transform for each sample.
        bundle: a name in BUNDLES.

    Raises:
        ConfigError: there is no such bundle.
        ValueError: the images are not as many as the draws, or not of four dimensions.
    """
    check_choice("augment_bundle", bundle, tuple(BUNDLES))
    check_images(images, draws)
    if len(images) == 0:
        return images
    chances = Chances(replace(draws, dtype=images.dtype), probability, BUNDLES[bundle])
    for apply in (apply_geometry, apply_color, apply_filter, apply_noise, apply_cutout):
        images = apply(images, chances)
    return images


def check_images(images: Tensor, draws: Draws) -> None:
    """Raise ValueError unless there is one image for each sample of the draws."""
    if images.ndim != 4:
        raise ValueError(f"augment: expected images [N, C, H, W], got {tuple(images.shape)}")
    if len(images) != len(draws):
        raise ValueError(f"augment: got {len(images)} images and draws for {len(draws)} samples")
