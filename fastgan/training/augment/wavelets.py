"""The two wavelets of the augmentations, and the octave bands made of one of them.

Taps are those of Daubechies' least asymmetric orthonormal wavelets: "Ten Lectures on Wavelets",
1992, table 6.3, with unit energy (their sum is the square root of 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

SYM2 = (-0.12940952255126034, 0.2241438680420134, 0.8365163037378077, 0.4829629131445341)
SYM6 = (
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip

BANDS = 4


@lru_cache(maxsize=1)
def octave_bands() -> Tensor:
    """Return zero-phase filters of four octave bands, float64 [4, 43], lowest band first.

    With the half-band low pass P(w) = |H(w)|^2 / 2 of sym2 and Q = 1 - P, the bands are
    P(w) P(2w) P(4w), P(w) P(2w) Q(4w), P(w) Q(2w) and Q(w). They sum to 1 at every frequency.

    Source: Karras et al. 2020 (ADA), appendix B; the cascade: Mallat 1989.
    """
    low = _autocorrelation(SYM2)
    high = -low
    high[len(low) // 2] += 1
    one = torch.ones(1, dtype=torch.float64)
    bands, passed = [], one  # from the highest octave down; what lower octaves have left to share
    for octave in range(BANDS - 1):
        bands.append(_convolve(passed, _spread(high, 2**octave)))
        passed = _convolve(passed, _spread(low, 2**octave))
    bands.append(passed)
    width = len(passed)
    return torch.stack([_centred(band, width) for band in reversed(bands)])


def _autocorrelation(taps: Sequence[float]) -> Tensor:
    h = torch.tensor(taps, dtype=torch.float64)
    return _convolve(h, h.flip(0)) / 2


def _convolve(a: Tensor, b: Tensor) -> Tensor:
    padded = torch.nn.functional.pad(a, (len(b) - 1, len(b) - 1))
    return (padded.unfold(0, len(b), 1) * b.flip(0)).sum(1)


def _spread(taps: Tensor, factor: int) -> Tensor:
    """Insert factor - 1 zeros between taps: the response at `factor` times the frequency."""
    spread = taps.new_zeros((len(taps) - 1) * factor + 1)
    spread[::factor] = taps
    return spread


def _centred(taps: Tensor, width: int) -> Tensor:
    margin = (width - len(taps)) // 2
    return torch.nn.functional.pad(taps, (margin, margin))
