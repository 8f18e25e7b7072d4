"""What a backend is asked about: one call of one op. A leaf."""

from __future__ import annotations

from dataclasses import dataclass

import torch

# Ops with kernels for GPUs alone: small passes that cost a CPU little beside its convolutions.
GPU_OPS = ("noise_bias_act", "minibatch_std", "normalize_act")


@dataclass(frozen=True)
class OpCall:
    """The facts of a call that decide whether a backend can serve it."""

    op: str
    device: str
    dtype: torch.dtype
