"""spectral_norm: one power iteration on the weight of a 3 x 3 convolution."""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

from benchmarks.cases import Case, Goal, normal, sizes
from benchmarks.report import Row
from benchmarks.roofline import Peaks
from benchmarks.runner import Options, run_cases
from fastgan import ops, reference

GOAL = Goal(eager=1 / 1.05, compiled=1 / 1.05)


def run(options: Options, peaks: Peaks) -> list[Row]:
    """Time every case."""
    return run_cases(cases(options.quick), options, peaks)


def cases(quick: bool) -> Iterator[Case]:
    """Yield weights [C_out, C_in, 3, 3]; the specification is the plain way: torch.mv three times.

    The literal power iteration of torch.nn.utils is the same three products.
    """
    for shape in [(16, 8, 3, 3)] if quick else [(512, 512, 3, 3), (128, 128, 3, 3)]:
        yield case(shape, GOAL if shape[0] == 512 else None)


def case(shape: tuple[int, ...], goal: Goal | None) -> Case:
    """Return the normalised weight as a function of the weight; u is a constant."""
    weight = normal(*shape)
    u = F.normalize(normal(shape[0], seed=1), dim=0)

    def function(weight: Tensor, *, backend: str) -> Tensor:
        return ops.spectral_norm(weight, u, backend=backend)[0]

    def specification(weight: Tensor) -> Tensor:
        return reference.spectral_norm(weight, u.to(weight.dtype))[0]

    return Case(
        op="spectral_norm",
        name=sizes(shape),
        inputs=(weight,),
        function=function,
        reference=specification,
        plain={"reference": specification},
        # two products and the division read W, the quotient is written; backward reads grad_y
        # and W for their product, grad_y again, and writes grad_W
        traffic={"fwd": 4 * weight.nbytes, "fwd_bwd": 8 * weight.nbytes},
        # a multiplication and an addition in each product, and the division
        flops={"fwd": 5.0 * weight.numel(), "fwd_bwd": 10.0 * weight.numel()},
        goals={} if goal is None else {"fwd": goal, "fwd_bwd": goal},
        passes=("fwd", "fwd_bwd", "double_bwd"),
    )
