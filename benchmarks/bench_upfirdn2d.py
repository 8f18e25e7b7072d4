"""upfirdn2d: StyleGAN2's upsampling and downsampling by 2 with the [1, 3, 3, 1] filter."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from benchmarks import plain
from benchmarks.cases import IMAGES, SMALL_IMAGES, TAPS, Case, Function, Goal, normal, sizes
from benchmarks.report import Row
from benchmarks.roofline import Peaks
from benchmarks.runner import Options, run_cases
from fastgan import ops, reference

GOAL = Goal(eager=4.0, compiled=4.0)
FILTER = ops.setup_filter(TAPS)
UP: dict[str, Any] = {"up": (2, 2), "padding": (2, 1, 2, 1), "gain": 4.0}
DOWN: dict[str, Any] = {"down": (2, 2), "padding": (1, 1, 1, 1)}
FEW_IMAGES = (1, 32, 32, 32)  # small enough for scipy, which has one thread


def run(options: Options, peaks: Peaks) -> list[Row]:
    """Time every case."""
    return run_cases(cases(options.quick), options, peaks)


def cases(quick: bool) -> Iterator[Case]:
    """Yield up and down in both layouts; the double backward is a forward on other data."""
    shapes = [SMALL_IMAGES] if quick else [IMAGES, FEW_IMAGES]
    for shape, channels_last in [(shape, last) for shape in shapes for last in (False, True)]:
        x = normal(*shape, channels_last=channels_last)
        yield case("up2", x, UP, {
            "zeros": _reference(UP),
            "transposed": lambda x: plain.upsample_transposed(x, FILTER),
            "shuffled": lambda x: plain.upsample_shuffled(x, FILTER),
        }, traffic=5 * x.nbytes)  # fmt: skip
        yield case("down2", x, DOWN, {
            "zeros": _reference(DOWN),
            "strided": lambda x: plain.downsample_strided(x, FILTER),
            "separable": lambda x: plain.downsample_separable(x, FILTER),
        }, traffic=1.25 * x.nbytes)  # fmt: skip


def case(
    name: str, x: Tensor, settings: dict[str, Any], ways: dict[str, Function], traffic: float
) -> Case:
    """Return one setting of the op; `traffic` is input plus output."""
    outputs = x.numel() * 4 if "up" in settings else x.numel() / 4
    flops = outputs * 2 * FILTER.numel() / (4 if "up" in settings else 1)  # zeros do not count
    scipy = {"scipy/upfirdn": partial(by_scipy, **settings)} if find_spec("scipy") else {}

    def function(x: Tensor, *, backend: str) -> Tensor:
        return ops.upfirdn2d(x, FILTER, **settings, backend=backend)

    return Case(
        op="upfirdn2d",
        name=f"{sizes(tuple(x.shape))} {name}",
        inputs=(x,),
        function=function,
        reference=_reference(settings),
        plain=ways,
        forward_only={} if tuple(x.shape) == IMAGES else scipy,
        flops={"fwd": flops, "fwd_bwd": 2 * flops},
        traffic={"fwd": traffic, "fwd_bwd": 2 * traffic},
        goals={"fwd": GOAL, "fwd_bwd": GOAL} if tuple(x.shape) == IMAGES else {},
    )


def by_scipy(
    x: Tensor,
    *,
    up: tuple[int, int] = (1, 1),
    down: tuple[int, int] = (1, 1),
    padding: tuple[int, ...],
    gain: float = 1.0,
) -> Tensor:
    """Resample the columns, then the rows; scipy returns the full convolution, which is cropped."""
    from scipy.signal import upfirdn

    taps = FILTER.sum(dim=0).numpy() * gain**0.5  # of one axis; they are symmetric
    y = x.numpy()
    for axis, factor in ((2, 1), (3, 0)):
        length = x.shape[axis] * up[factor] // down[factor]
        first = (len(taps) - 1 - padding[2 * factor]) // down[factor]
        y = upfirdn(taps, y, up[factor], down[factor], axis=axis)
        y = y.take(range(first, first + length), axis=axis)
    return torch.from_numpy(y)


def _reference(settings: dict[str, Any]) -> Function:
    return lambda x: reference.upfirdn2d(x, FILTER, **settings)
