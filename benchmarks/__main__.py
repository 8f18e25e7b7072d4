"""python -m benchmarks [NAME ...]: run all benchmarks or the named ones, write and print results.

A benchmark is a file bench_NAME.py with a function `run(options, peaks)`.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks import report
from benchmarks.roofline import measure_peaks
from benchmarks.runner import Options

NAMES = tuple(
    sorted(f.stem.removeprefix("bench_") for f in Path(__file__).parent.glob("bench_*.py"))
)


@dataclass(frozen=True)
class Command(Options):
    """Time fastgan's ops against plain PyTorch and torch.compile, in one process, in turn."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Which benchmarks; all when none is named."""


def main() -> int:
    """Run; return the exit status."""
    command = tyro.cli(Command, description=f"The benchmarks: {', '.join(NAMES)}.")
    unknown = [name for name in command.names if name not in NAMES]
    if unknown:
        print(f"benchmarks: no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}")
        return 2
    folder = command.out or (None if command.quick else report.RESULTS)
    facts, peaks = report.machine(), measure_peaks(quick=command.quick)
    results: dict[str, list[report.Row]] = {}
    for name in command.names or NAMES:
        print(f"benchmarks: {name}", file=sys.stderr, flush=True)
        module = importlib.import_module(f"benchmarks.bench_{name}")
        results[name] = [row | facts for row in module.run(command, peaks)]
        if folder is not None:
            report.write(name, results[name], folder)
            report.write_page(folder)
    print(report.page(results))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
