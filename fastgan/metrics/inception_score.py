"""Inception score: how sure a classifier is of each image and how even over all of them.

Source: Salimans et al. 2016, "Improved Techniques for Training GANs".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class InceptionScore(NamedTuple):
    """Mean and standard deviation over the parts that the images were split into."""

    mean: float
    std: float


def inception_score(logits: Tensor, *, splits: int = 10, seed: int | None = 2020) -> InceptionScore:
    """Return exp(mean over x of KL(p(y|x) || p(y))), computed in float64 on each part.

    Args:
        logits: [N, K].
        splits: parts; each has its own p(y).
        seed: of the shuffle before the split, the one of torch-fidelity; None keeps the order.

    Raises: ValueError for another shape or fewer images than parts.
    """
    if logits.ndim != 2 or not 1 <= splits <= len(logits):
        raise ValueError(
            f"inception_score: expected logits [N, K], N at least the {splits} splits, got "
            f"{list(logits.shape)}"
        )
    if seed is not None:
        order = np.random.RandomState(seed).permutation(len(logits))
        logits = logits[torch.from_numpy(order).to(logits.device)]
    log_p = logits.double().log_softmax(dim=1)
    count, scores = len(logits), []
    for part in range(splits):
        log_q = log_p[part * count // splits : (part + 1) * count // splits]
        q = log_q.exp()
        divergence = (q * (log_q - q.mean(dim=0).log())).nan_to_num(nan=0.0).sum(dim=1)
        scores.append(float(divergence.mean().exp()))  # 0 log 0 is 0
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))
