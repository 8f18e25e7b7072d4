"""Runs cases: check every contender, then time them in turn. What to run is in the bench_ files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import plugins, providers, report
from benchmarks.cases import Case, Pass
from benchmarks.report import Row
from benchmarks.roofline import Peaks
from benchmarks.timing import measure

SPAN = 0.01  # seconds of a reading: of one call, or of a short one repeated


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
    only: tuple[str, ...] = ()
    """Only the cases in whose name a word begins so, such as 256x16384. None named: all."""
    contender: tuple[str, ...] = ()
    """Further contenders, module:callable; benchmarks/README.md says what they are called with."""
    out: Path | None = None
    """Folder for the .jsonl files, the tables and the plots. None: benchmarks/results, and nothing
    of a quick run."""


def run_cases(cases: Iterable[Case], options: Options, peaks: Peaks) -> list[Row]:
    """Check and time every pass of every case that the options select.

    Raises:
        WrongResultError: a contender is wrong; nothing of its case is timed then.
        ConfigError: the options name a case or a contender that is not there.
    """
    found: list[Row] = []
    listed = list(cases)
    extra = {f"plugin/{name}": plugins.load(name) for name in options.contender}
    names = plugins.selected(listed[0].op, [case.name for case in listed], options.only)
    for case in [case for case in listed if case.name in names]:
        functions = providers.functions(case, compiled=options.compile and not options.quick)
        for name, make in extra.items():
            if (function := make(case)) is not None:
                functions[name] = function
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
    if options.rounds < 1:
        raise SystemExit(f"rounds: expected at least 1, got {options.rounds}")
    rounds = 3 if options.quick else options.rounds
    span = 0.0 if options.quick else SPAN
    timings = measure(contenders, rounds=rounds, max_seconds=options.max_seconds, min_span=span)
    return report.rows(case, which, timings, peaks)
