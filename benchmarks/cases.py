"""What is timed: the Case, and the shapes of the networks that the cases are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor

Pass: TypeAlias = Literal["fwd", "fwd_bwd", "double_bwd"]
Function: TypeAlias = Callable[..., Tensor]

IMAGES = (8, 64, 64, 64)  # [N, C, H, W]: the 64 x 64 layer of a small StyleGAN2
SMALL_IMAGES = (2, 8, 16, 16)  # quick runs
TAPS = (1.0, 3.0, 3.0, 1.0)  # StyleGAN2's FIR filter


@dataclass(frozen=True)
class Goal:
    """What the project promises: at least `eager` times the speed of plain PyTorch, and at least
    `compiled` times that of torch.compile, by minimum times."""

    eager: float
    compiled: float


@dataclass(frozen=True)
class Case:
    """One op at one shape.

    Attributes:
        op: name in `fastgan.ops`.
        name: shape and settings, for tables.
        inputs: tensors that the functions take; all are differentiated.
        function: fastgan's op; takes `backend` by keyword.
        reference: the specification, in any precision.
        plain: the same in plain PyTorch, one or more ways; the fastest counts as eager.
        forward_only: the same in libraries without gradients, by provider/way.
        traffic: least bytes moved, by pass.
        flops: least floating-point operations, by pass.
        goals: by pass.
        passes: what is timed.
    """

    op: str
    name: str
    inputs: tuple[Tensor, ...]
    function: Function
    reference: Function
    plain: Mapping[str, Function]
    forward_only: Mapping[str, Function] = field(default_factory=dict)
    traffic: Mapping[Pass, float] = field(default_factory=dict)
    flops: Mapping[Pass, float] = field(default_factory=dict)
    goals: Mapping[Pass, Goal] = field(default_factory=dict)
    passes: tuple[Pass, ...] = ("fwd", "fwd_bwd")

    @property
    def layout(self) -> str:
        """Memory order of the first input."""
        x = self.inputs[0]
        last = x.ndim == 4 and not x.is_contiguous()
        return "channels_last" if last else "contiguous"


def normal(*shape: int, seed: int = 0, channels_last: bool = False) -> Tensor:
    """Return float32 normal numbers, the same every time."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x.contiguous(memory_format=torch.channels_last) if channels_last else x


def sizes(shape: tuple[int, ...]) -> str:
    """Write a shape as 8x64x64x64."""
    return "x".join(map(str, shape))
