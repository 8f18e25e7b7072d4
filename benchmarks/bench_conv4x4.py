"""conv4x4: the 4x4 convolutions with stride 2 of a 64 x 64 DCGAN, against torch's."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.cases import Case, normal, sizes
from benchmarks.report import Row
from benchmarks.roofline import Peaks
from benchmarks.runner import Options, run_cases
from fastgan import ops, reference

# N, channels and size of the high-resolution image; the low one has twice the channels.
LAYERS = tuple((n, *layer) for n in (16, 64) for layer in ((64, 32), (128, 16), (256, 8)))


def run(options: Options, peaks: Peaks) -> list[Row]:
    """Time every case."""
    return run_cases(cases(options.quick), options, peaks)


def cases(quick: bool) -> Iterator[Case]:
    """Yield the layers, each way."""
    for samples, channels, size in ((8, 16, 8),) if quick else LAYERS:
        for up in (False, True):
            yield case(samples, channels, size, up)


def case(samples: int, channels: int, size: int, up: bool) -> Case:
    """Return one layer."""
    inputs, half = (2 * channels, size // 2) if up else (channels, size)
    x = normal(samples, inputs, half, half, channels_last=True)
    weight = normal(2 * channels, channels, 4, 4, seed=1) / (16 * inputs) ** 0.5
    flops = 2 * 16 * 2 * channels * channels * samples * (size // 2) ** 2
    plain = F.conv_transpose2d if up else F.conv2d

    def in_nchw(x: Tensor, weight: Tensor) -> Tensor:
        return plain(x.contiguous(), weight, stride=2, padding=1)

    def in_channels_last(x: Tensor, weight: Tensor) -> Tensor:
        weight = weight.contiguous(memory_format=torch.channels_last)
        return plain(x, weight, stride=2, padding=1)

    return Case(
        op="conv2d_resample",
        name=f"{sizes(tuple(x.shape))} 4x4 {'up' if up else 'down'}",
        inputs=(x, weight),
        function=ops.conv4x4_transposed if up else ops.conv4x4,
        reference=_reference_up if up else reference.conv4x4,
        plain={"contiguous": in_nchw, "channels_last": in_channels_last},
        flops={"fwd": flops, "fwd_bwd": 3 * flops, "double_bwd": 9 * flops},
        passes=("fwd", "fwd_bwd", "double_bwd"),
    )


def _reference_up(x: Tensor, weight: Tensor) -> Tensor:
    return reference.conv4x4_transposed(x, weight, 2 * x.shape[2], 2 * x.shape[3])
