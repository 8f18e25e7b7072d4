"""What a backend is asked about: one call of one op. A leaf."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class OpCall:
    """The facts of a call that decide whether a backend can serve it."""

    op: str
    device: str
    dtype: torch.dtype
