"""upfirdn2d: StyleGAN2's upsampling and downsampling by 2 with the [1, 3, 3, 1] filter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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


def run(options: Options, peaks: Peaks) -> list[Row]:
    """Time every case."""
    return run_cases(cases(options.quick), options, peaks)


def cases(quick: bool) -> Iterator[Case]:
    """Yield up and down in both layouts; the double backward is a forward on other data."""
    shape = SMALL_IMAGES if quick else IMAGES
    for channels_last in (False, True):
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

    def function(x: Tensor, *, backend: str) -> Tensor:
        return ops.upfirdn2d(x, FILTER, **settings, backend=backend)

    return Case(
        op="upfirdn2d",
        name=f"{sizes(tuple(x.shape))} {name}",
        inputs=(x,),
        function=function,
        reference=_reference(settings),
        plain=ways,
        traffic={"fwd": traffic, "fwd_bwd": 2 * traffic},
        goals={"fwd": GOAL, "fwd_bwd": GOAL} if tuple(x.shape) == IMAGES else {},
    )


def _reference(settings: dict[str, Any]) -> Function:
    return lambda x: reference.upfirdn2d(x, FILTER, **settings)
