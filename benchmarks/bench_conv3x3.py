"""conv3x3: 3x3 convolutions at the sizes of a small StyleGAN2, against torch's in channels_last."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

from benchmarks.cases import Case, normal, sizes
from benchmarks.report import Row
from benchmarks.roofline import Peaks
from benchmarks.runner import Options, run_cases
from fastgan import ops, reference

# N, channels, size
LAYERS = ((16, 128, 8), (16, 128, 16), (16, 128, 32), (16, 64, 64), (16, 32, 128), (4, 256, 64))


def run(options: Options, peaks: Peaks) -> list[Row]:
    """Time every case."""
    return run_cases(cases(options.quick), options, peaks)


def cases(quick: bool) -> Iterator[Case]:
    """Yield the layers, with as many channels out as in."""
    for samples, channels, size in ((4, 16, 8),) if quick else LAYERS:
        yield case(samples, channels, size)


def case(samples: int, channels: int, size: int) -> Case:
    """Return one layer."""
    x = normal(samples, channels, size, size, channels_last=True)
    weight = normal(channels, channels, 3, 3, seed=1) / (9 * channels) ** 0.5
    flops = 2 * 9 * channels * channels * samples * size * size
    return Case(
        op="conv2d_resample",
        name=f"{sizes(tuple(x.shape))} to {channels} 3x3",
        inputs=(x, weight),
        function=_convolve,
        reference=reference.conv3x3,
        plain={"conv2d": lambda x, weight: F.conv2d(x, weight, padding=1)},
        flops={"fwd": flops, "fwd_bwd": 3 * flops, "double_bwd": 9 * flops},
        passes=("fwd", "fwd_bwd", "double_bwd"),
    )


def _convolve(x: Tensor, weight: Tensor, *, backend: str) -> Tensor:
    return ops.conv2d_resample(x, weight, padding=1, backend=backend)
