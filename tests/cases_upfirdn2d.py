"""Filters and resamplings that every upfirdn2d backend must serve: the case table of the op."""

import torch
from torch import Tensor

from fastgan.ops import setup_filter


def _taps(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


# All but the binomial ones are asymmetric, so that a wrong flip shows.
FILTERS: dict[str, Tensor | None] = {
    "identity": None,
    "one_tap": torch.tensor([0.7]),
    "binomial": setup_filter([1, 3, 3, 1]),
    "two_by_two": _taps(2, 2),
    "row": _taps(1, 7),
    "column": _taps(8, 1),
    "outer": torch.outer(_taps(4), _taps(6)),
    "outer_zero_sum": torch.outer(torch.tensor([1.0, 2.0, -3.0]), torch.tensor([-1.0, 1.0])),
    "almost_outer": torch.outer(_taps(4), _taps(6)) + 1e-3 * _taps(4, 6),
    "full": _taps(3, 5),
    "full_large": _taps(12, 13),
    "separable": _taps(5),
    "separable_12": _taps(12),
    "separable_64": _taps(64),
    "zeros": torch.zeros(3, 3),
}

# name: (up, down, padding), factors as (x, y), padding as [x0, x1, y0, y1].
RESAMPLINGS = {
    "same": ((1, 1), (1, 1), (1, 2, 2, 1)),
    "up2": ((2, 2), (1, 1), (2, 1, 2, 1)),
    "down2": ((1, 1), (2, 2), (1, 1, 1, 1)),
    "up2_down2": ((2, 2), (2, 2), (3, 2, 0, 1)),
    "up_x": ((2, 1), (1, 1), (0, 3, 1, 1)),
    "down_y": ((1, 1), (1, 2), (1, 0, 1, 2)),
    "up3_down2": ((3, 3), (2, 2), (2, 4, 1, 3)),
    "up4": ((4, 4), (1, 1), (5, 6, 4, 3)),
    "down4": ((1, 1), (4, 4), (4, 5, 6, 3)),
    "up_x_down_y": ((3, 2), (2, 4), (1, 5, 2, 7)),
    "crop": ((1, 1), (1, 1), (-1, 9, -2, 12)),
    "crop_up": ((2, 2), (1, 1), (-3, 12, 11, -3)),
    "crop_down": ((1, 1), (2, 3), (12, -2, 12, -1)),
    "far_padding": ((2, 2), (1, 1), (70, 70, 70, 70)),
}

# Paddings that leave room for the longest filter on a small image.
ROOM = 66


def options(resampling: str, filter: Tensor | None = None) -> dict[str, object]:
    """Keyword arguments of `upfirdn2d`, padded so that the filter fits into a 5 x 7 image."""
    up, down, padding = RESAMPLINGS[resampling]
    longest = 1 if filter is None else max(filter.shape)
    room = ROOM if longest > 13 else 8 if longest > 6 else 0
    x0, x1, y0, y1 = padding
    return {"up": up, "down": down, "padding": (x0 + room, x1, y0, y1 + room)}
