"""Runs cases: check every contender, then time them in turn. What to run is in the bench_ files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import providers, report
from benchmarks.cases import Case, Pass
from benchmarks.report import Row
from benchmarks.roofline import Peaks
from benchmarks.timing import measure


@dataclass(frozen=True)
class Options:
    """How benchmarks run."""

    quick: bool = False
    """Tiny shapes and few rounds, without torch.compile: a test of the machinery."""
    rounds: int = 50
    """Timed calls of each contender."""
    max_seconds: float = 20.0
    """Start no further round of a comparison after this many seconds."""
    compile: bool = True
    """Time torch.compile too; each case takes seconds to compile."""
    out: Path | None = None
    """Folder for the .jsonl files and the table. None: benchmarks/results, and nothing of a quick
    run."""


def run_cases(cases: Iterable[Case], options: Options, peaks: Peaks) -> list[Row]:
    """Check and time every pass of every case.

    Raises: WrongResultError when a contender is wrong; nothing of its case is timed then.
    """
    found: list[Row] = []
    for case in cases:
        functions = providers.functions(case, compiled=options.compile and not options.quick)
        for which in case.passes:
            found += run_pass(case, which, providers.contenders(case, which, functions), options,
                              peaks)  # fmt: skip
    return found


def run_pass(
    case: Case,
    which: Pass,
    contenders: dict[str, providers.Contender],
    options: Options,
    peaks: Peaks,
) -> list[Row]:
    """Check and time one pass of one case."""
    providers.check(case, which, contenders)
    rounds = 3 if options.quick else options.rounds
    timings = measure(contenders, rounds=rounds, max_seconds=options.max_seconds)
    return report.rows(case, which, timings, peaks)
