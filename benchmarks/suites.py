"""Runs benchmarks by name, prints their tables, and writes rows, tables and plots.

A benchmark is a file bench_NAME.py with a function `run`: of an op, `run(options, peaks)`; of whole
networks and of metrics (NETWORKS), `run(options)`, which measures rates of the machine by itself.
"""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks import plots, report
from benchmarks.plugins import NoCaseError
from benchmarks.providers import WrongResultError
from benchmarks.roofline import Peaks, measure_peaks
from benchmarks.runner import Options
from fastgan.errors import ConfigError

NAMES = tuple(
    sorted(f.stem.removeprefix("bench_") for f in Path(__file__).parent.glob("bench_*.py"))
)
NETWORKS = ("growth", "metrics", "synthesis", "train_step")
OPS = tuple(name for name in NAMES if name not in NETWORKS)


@dataclass(frozen=True)
class Synth(Options):
    """Time the rendering of StyleGAN2 into bytes: fastgan, plain PyTorch eager and compiled,
    onnxruntime and OpenVINO, in one process, in turn, after their images were compared."""

    names: ClassVar[tuple[str, ...]] = ("synthesis",)

    def run(self) -> int:
        """Run and print."""
        return run(self.names, self)


@dataclass(frozen=True)
class Growth(Options):
    """Time frames of 256, 512 and 1024 pixels in turn, against what the machine could do at best,
    and measure the memory that each takes."""

    names: ClassVar[tuple[str, ...]] = ("growth",)

    def run(self) -> int:
        """Run and print."""
        return run(self.names, self)


@dataclass(frozen=True)
class Train(Options):
    """Time the phases of a training step: fastgan's networks, plain PyTorch eager and compiled, in
    one process, in turn, after their losses and gradients were compared."""

    names: ClassVar[tuple[str, ...]] = ("train_step",)

    def run(self) -> int:
        """Run and print."""
        return run(self.names, self)


COMMANDS = {"synth": Synth, "growth": Growth, "train": Train}


def run(names: Sequence[str], options: Options) -> int:
    """Run benchmarks; return the exit status, 1 when a contender computes something wrong.

    Raises: ConfigError when a name, case or contender is not there.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise ConfigError(f"benchmarks: no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}")
    try:
        results = _results(names, options)
    except WrongResultError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    print(report.page(results))
    return 0


def _keep(name: str, found: Iterable[report.Row], folder: Path | None) -> list[report.Row]:
    """Collect rows, and write those of a case when it is done: the next may take minutes."""
    rows: list[report.Row] = []
    for _, case in itertools.groupby(found, key=lambda row: row["case"]):
        rows += case
        if folder is not None:
            report.write(name, rows, folder)
    return rows


def _results(names: Sequence[str], options: Options) -> dict[str, list[report.Row]]:
    folder = options.out or (None if options.quick else report.RESULTS)
    facts = report.machine()
    peaks: Peaks | None = None
    results: dict[str, list[report.Row]] = {}
    nothing: NoCaseError | None = None
    for name in names:
        print(f"benchmarks: {name}", file=sys.stderr, flush=True)
        module = importlib.import_module(f"benchmarks.bench_{name}")
        try:
            if name in NETWORKS:
                found = module.run(options)
            else:
                peaks = peaks or measure_peaks(quick=options.quick)
                found = module.run(options, peaks)
            results[name] = _keep(name, (row | facts for row in found), folder)
        except NoCaseError as error:  # another benchmark may have the case
            nothing = error
            continue
        if folder is not None:
            plots.write(folder)
            report.write_page(folder)
    if nothing is not None and not results:
        raise nothing
    return results
