"""The calls of the regression gate. `make bench-gate`; benchmarks/gate.py says what is compared."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, TypeAlias

import pytest
import torch

from benchmarks import bench_bias_act, bench_modulated_conv2d, bench_spectral_norm, bench_upfirdn2d
from benchmarks.cases import IMAGES, Case, Pass, normal
from benchmarks.gate import Gate, Ratio
from benchmarks.nets import Net
from benchmarks.peers import FASTGAN, MissingPeerError
from benchmarks.providers import contender
from benchmarks.timing import measure
from benchmarks.trainers import kernels

Call: TypeAlias = Callable[[], object]
WIDTH = 1024  # of the matrix product: some milliseconds, as the calls


def op(make: Callable[[], Case], which: Pass) -> Call:
    """Return a pass of an op on its fastest backend."""
    case = make()
    return contender(partial(case.function, backend=kernels()), case.inputs, which)


def render() -> Call:
    """Return the rendering of a small image by the engine, or by the ops where there is none."""
    generator, ws = Net(64, 4096, 1).build()
    try:
        return FASTGAN["fastgan"](generator, ws).render
    except MissingPeerError:
        return FASTGAN["fastgan-ops"](generator, ws).render


def _upsampling() -> Case:
    x = normal(*IMAGES)
    return bench_upfirdn2d.case("up2", x, bench_upfirdn2d.UP, {}, traffic=5 * x.nbytes)


_BIAS_ACT = partial(bench_bias_act.case, IMAGES, "lrelu")
_CONV = partial(bench_modulated_conv2d.case, 4, 128, 32)
_SPECTRAL_NORM = partial(bench_spectral_norm.case, (512, 512, 3, 3), None)
CALLS: dict[str, Callable[[], Call]] = {
    "bias_act fwd": partial(op, _BIAS_ACT, "fwd"),
    "bias_act fwd_bwd": partial(op, _BIAS_ACT, "fwd_bwd"),
    "upfirdn2d up2 fwd": partial(op, _upsampling, "fwd"),
    "modulated_conv2d fwd_bwd": partial(op, partial(_CONV, 1), "fwd_bwd"),
    "modulated_conv2d up2 fwd_bwd": partial(op, partial(_CONV, 2), "fwd_bwd"),
    "spectral_norm fwd": partial(op, _SPECTRAL_NORM, "fwd"),
    "synthesis 64x4096": render,
}


@pytest.mark.parametrize("name", CALLS)
def test_speed(name: str, benchmark: Any, stored: Gate, request: pytest.FixtureRequest) -> None:
    """Time a call and a matrix product in turn, and compare their ratio with the stored one."""
    call = CALLS[name]()
    a, b, c = (torch.randn(WIDTH, WIDTH) for _ in range(3))
    products: list[float] = []

    def multiply() -> None:
        found = measure({"sgemm": lambda: torch.mm(a, b, out=c)}, rounds=1, warmup=0)
        products.append(found["sgemm"].minimum)

    call()
    rounds = request.config.getoption("--gate-rounds")
    benchmark.pedantic(call, setup=multiply, rounds=rounds, warmup_rounds=2)
    if benchmark.stats is None:
        pytest.skip("pytest-benchmark is disabled, so nothing was timed")
    times = benchmark.stats.stats
    ratio = Ratio(times.min / min(products), times.median / median(products))
    benchmark.extra_info["over SGEMM"] = ratio.minimum
    failure = stored.judge(name, ratio)
    if failure is not None and not request.config.getoption("--store"):
        pytest.fail(failure, pytrace=False)
