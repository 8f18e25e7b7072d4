"""The filter augmentation: octaves of an image's detail made stronger or weaker.

Source: Karras et al. 2020 (ADA), appendix B.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.training.augment.chances import Chances
from fastgan.training.augment.sampling import mirrored, on_chosen
from fastgan.training.augment.wavelets import BANDS, octave_bands

FILTER_STD = 1.0
# Share of natural images' power that lies in each band, lowest first.
EXPECTED_POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)


def apply_filter(images: Tensor, chances: Chances) -> Tensor:
    """Return the images with their frequencies reweighted by chance."""
    gains, chosen = band_gains(chances)
    return on_chosen(images, chosen, filter_bands, gains)


def band_gains(chances: Chances) -> tuple[Tensor, Tensor]:
    """Return the gain of each band, [N, 4], and who has any, [N].

    Each band in turn is scaled, and all are then normalised to the power expected before.
    """
    applies = [chances.applies("imgfilter", f"band{band}") for band in range(BANDS)]
    gains = torch.ones_like(chances.normal("band0"))[:, None].repeat(1, BANDS)
    power = gains.new_tensor(EXPECTED_POWER)
    for band, chosen in enumerate(applies):
        factor = torch.exp2(chances.normal(f"band{band}") * FILTER_STD)
        scaled = torch.ones_like(gains)
        scaled[:, band] = torch.where(chosen, factor, 1)
        gains = gains * scaled / (scaled.square() * power).sum(1, keepdim=True).sqrt()
    return gains, torch.stack(applies).any(0)


def filter_bands(images: Tensor, gains: Tensor) -> Tensor:
    """Filter [N, C, H, W] along columns and rows with the bands weighted by gains [N, 4].

    Borders are mirrors. The filter of a sample stands in a matrix, folded at the borders, because
    it is nearly as long as the images that augmentation is for.
    """
    taps = gains @ octave_bands().to(gains)  # [N, 43]
    rows, columns = (_filter_matrices(taps, size) for size in images.shape[2:])
    return rows[:, None] @ images @ columns[:, None].mT


def _filter_matrices(taps: Tensor, size: int) -> Tensor:
    """Return [N, size, size]: how much of each pixel goes into each pixel of the result."""
    reach = taps.shape[1] // 2
    offsets = torch.arange(-reach, reach + 1, device=taps.device)
    sources = mirrored(torch.arange(size, device=taps.device)[:, None] + offsets, size)
    weights = taps[:, None, :].expand(-1, size, -1)
    matrices = taps.new_zeros(len(taps), size, size)
    return matrices.scatter_add(2, sources.expand(len(taps), -1, -1), weights)
