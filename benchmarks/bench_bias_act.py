"""bias_act: leaky ReLU with a bias, which is bound by memory alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.cases import IMAGES, SMALL_IMAGES, Case, Goal, normal, sizes
from benchmarks.report import Row
from benchmarks.roofline import Peaks
from benchmarks.runner import Options, run_cases
from fastgan import ops, reference

GOAL = Goal(eager=3.0, compiled=1 / 1.05)


def run(options: Options, peaks: Peaks) -> list[Row]:
    """Time every case."""
    return run_cases(cases(options.quick), options, peaks)


def cases(quick: bool) -> Iterator[Case]:
    """Yield the layers; the specification is F.leaky_relu(x + b, 0.2) * sqrt(2), the plain way.

    The clamp is that of the presets (conv_clamp = 256), one more pass for plain PyTorch.
    """
    shape = SMALL_IMAGES if quick else IMAGES
    yield case(shape, "lrelu", goal=None if quick else GOAL)
    if not quick:
        yield case(shape, "lrelu", clamp=256.0, goal=GOAL)
        yield case(shape, "lrelu", channels_last=True)
        yield case(shape, "swish")


def case(
    shape: tuple[int, ...],
    act: str,
    *,
    clamp: float | None = None,
    channels_last: bool = False,
    goal: Goal | None = None,
) -> Case:
    """Return bias and activation on images of a shape."""
    settings: dict[str, Any] = {"act": act, "clamp": clamp}
    x, bias = normal(*shape, channels_last=channels_last), normal(shape[1], seed=1)
    keeps_bits = act == "lrelu" and not channels_last
    return Case(
        op="bias_act",
        name=f"{sizes(shape)} {act}" + ("" if clamp is None else f" clamp {clamp:g}"),
        inputs=(x, bias),
        function=partial(ops.bias_act, **settings),
        reference=partial(reference.bias_act, **settings),
        plain={"reference": partial(reference.bias_act, **settings)},
        # forward reads x and writes y; backward reads grad_y and writes grad_x, and for what does
        # not keep bits reads y
        traffic={"fwd": 2 * x.nbytes, "fwd_bwd": (4 if keeps_bits else 5) * x.nbytes},
        flops={"fwd": 3.0 * x.numel(), "fwd_bwd": 5.0 * x.numel()},  # sum, slope and gain
        goals={} if goal is None else {"fwd": goal, "fwd_bwd": goal},
        passes=("fwd", "fwd_bwd", "double_bwd"),
    )
