"""A training step of StyleGAN2-lite, R1 and path length included: the specification's ops, which
are literal and not the best plain PyTorch, against fastgan's kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.providers import WrongResultError
from benchmarks.report import Row
from benchmarks.roofline import Peaks
from benchmarks.runner import Options
from benchmarks.timing import Timing, measure
from fastgan import use_backend
from fastgan.data import ArrayDataset, shapes
from fastgan.dispatch import registry
from fastgan.dispatch.spec import OpCall
from fastgan.recipes import stylegan2
from fastgan.training.state import start_state
from fastgan.training.step import Step

TOLERANCE = 1e-2  # relative, of every loss of the first step, in float32
SMALL: dict[str, Any] = {"batch": 4, "channel_base": 128, "channel_max": 8, "z_dim": 8, "w_dim": 8}


def run(options: Options, peaks: Peaks) -> list[Row]:
    """Train one copy per backend side by side, and time whole cycles of the lazy penalties."""
    size = 16 if options.quick else 32
    config = stylegan2.lite()
    config = replace(config, device="cpu", **(SMALL if options.quick else {}))
    cycle = 1 if options.quick else math.lcm(config.r1_every, config.pl_every)
    images = shapes(256, size, torch.Generator().manual_seed(0)).images
    steps = {name: _step(name, config, ArrayDataset(images, name="shapes")) for name in _backends()}
    _check({name: step() for name, step in steps.items()})  # step 0 has every penalty

    def contender(step: Callable[[], dict[str, Tensor]]) -> Callable[[], object]:
        return lambda: [step() for _ in range(cycle)]

    timings = measure(
        {name: contender(step) for name, step in steps.items()},
        rounds=2 if options.quick else min(options.rounds, 5),
        warmup=1,
        max_seconds=6 * options.max_seconds,
    )
    case = f"stylegan2-lite {size}x{size} batch {config.batch}, mean of {cycle} steps"
    return [_row(name, case, timing, cycle, peaks) for name, timing in timings.items()]


def _backends() -> list[str]:
    call = OpCall("bias_act", "cpu", torch.float32)
    return [name for name in registry.BACKENDS if registry.why_not(name, call) is None]


def _step(
    backend: str, config: stylegan2.Config, dataset: ArrayDataset
) -> Callable[[], dict[str, Tensor]]:
    step = Step(start_state(config, stylegan2, dataset))

    def run_step() -> dict[str, Tensor]:
        with use_backend(backend):
            return step()

    return run_step


def _check(found: dict[str, dict[str, Tensor]]) -> None:
    expected = found["reference"]
    for name, means in found.items():
        for key, value in means.items():
            error = float((value - expected[key]).abs().max() / expected[key].abs().max())
            if key.startswith(("loss", "r1", "pl")) and not error <= TOLERANCE:
                raise WrongResultError(f"train_step: {key} of {name} is off by {error:.1e}")


def _row(name: str, case: str, timing: Timing, cycle: int, peaks: Peaks) -> Row:
    seconds = asdict(timing)
    per_step = {key: seconds[key] / cycle for key in ("minimum", "median", "p20", "p80")}
    return {
        "op": "train_step",
        "case": case,
        "dtype": "float32",
        "layout": "contiguous",
        "pass": "step",
        "provider": "eager/literal" if name == "reference" else name,
        **seconds,
        **per_step,
        "roofline": 0.0,
        "copy_bandwidth": peaks.copy,
        "sgemm": peaks.sgemm,
        "goal": None,
    }
