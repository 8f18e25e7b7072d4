"""Whether fakes are copies of training images: distances to nearest neighbours, compared.

Precision, recall and the Fréchet distance see a copy of the training set as perfect. Here the
distance from fakes to training images is held against that from images that were not trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fastgan.metrics.neighbours import nearest

MIN_RATIO = 0.5


class Memorisation(NamedTuple):
    """What the nearest training images say.

    Attributes:
        ratio: median distance from fakes to their nearest training image, over that of reals.
        copies: fraction of fakes at a distance of 0, or below `epsilon`.
        nearest: index of the training image that is nearest to each fake, int64 [M].
        distance: of each fake to it, [M].
    """

    ratio: float
    copies: float
    nearest: Tensor
    distance: Tensor

    @property
    def is_suspicious(self) -> bool:
        """Whether fakes are nearer than half of what reals are, or a fake is a copy."""
        return self.ratio < MIN_RATIO or self.copies > 0


def memorisation(
    train: Tensor | Sequence[Tensor],
    fake: Tensor,
    held_out: Tensor | None = None,
    *,
    epsilon: float = 0.0,
) -> Memorisation:
    """Compare distances to the nearest training image.

    Args:
        train: features [N, d] of the training images, or several such, of the images as they are
            and augmented (mirrored, cropped): the nearest of all counts.
        fake: [M, d].
        held_out: features of reals that were not trained on. None: each training image against
            the others (left out of its own augmentations, too), which near-duplicates in the
            training set bring down.
        epsilon: a fake at this distance or nearer is a copy.

    Raises: ValueError when there are too few vectors.
    """
    sets = [t.detach().double() for t in ([train] if isinstance(train, Tensor) else train)]
    distance, index = _nearest(sets, fake.detach().double())
    if held_out is not None:
        reference, _ = _nearest(sets, held_out.detach().double())
    else:
        reference = nearest(sets[0], sets[0], 1, same=True)[0][:, 0].sqrt()
        for other in sets[1:]:  # the same image mirrored is no neighbour of it
            both, which = nearest(sets[0], other, 2)
            own = which[:, 0] == torch.arange(len(which), device=which.device)
            reference = torch.minimum(reference, torch.where(own, both[:, 1], both[:, 0]).sqrt())
    middle = float(reference.median())
    ratio = float(distance.median()) / middle if middle > 0 else float("inf")
    return Memorisation(ratio, float((distance <= epsilon).double().mean()), index, distance)


def _nearest(sets: Sequence[Tensor], queries: Tensor) -> tuple[Tensor, Tensor]:
    found = [nearest(queries, one, 1) for one in sets]
    distances = torch.stack([d[:, 0] for d, _ in found])
    indices = torch.stack([i[:, 0] for _, i in found])
    best = distances.argmin(dim=0, keepdim=True)
    return distances.gather(0, best)[0].sqrt(), indices.gather(0, best)[0]
