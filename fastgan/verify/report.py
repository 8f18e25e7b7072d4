"""The report of a selftest: a summary on the screen, Markdown to read, JSON with every case."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fastgan.files import replacing, write_json
from fastgan.verify.parity import Outcome, Skip
from fastgan.verify.speed import Speed
from fastgan.verify.suite import Report

Cells = list[str]
SHOWN = 20  # failures on the screen; the files have all


def write(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write selftest-DEVICE.json and .md, each of them whole or not at all."""
    text, data = markdown(report), _finite(report.as_dict())
    page = folder / f"selftest-{report.device}.md"
    with replacing(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return write_json(folder / f"selftest-{report.device}.json", data), page


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def verdict(report: Report) -> str:
    """One line."""
    if not report.ran:
        return f"FAILED: no backend with kernels ran on {report.device}; nothing was verified"
    counts = f"{len(report.outcomes)} checks of {', '.join(report.ran)} on {report.device}"
    failed = len(report.failures)
    return f"FAILED: {failed} of {counts}" if failed else f"passed: {counts}"


def show(report: Report, console: Console) -> None:
    """Print the summary."""
    for title, head, rows in _tables(report):
        view = Table(*head, title=title)
        for row in rows:
            view.add_row(*map(escape, row))
        console.print(view)
    for failure in report.failures[:SHOWN]:
        console.print(f"[red]FAILED[/] {escape(_line(failure))}")
    for what, reason in _reasons(report.skips):
        console.print(f"[yellow]SKIPPED[/] {escape(what)}: {escape(reason)}")
    colour = "green" if report.ok else "red"
    console.print(f"[{colour}]{escape(verdict(report))}[/] ({report.seconds:.0f} s)")


def markdown(report: Report) -> str:
    """The whole report as a page."""
    facts = [[name, value] for name, value in report.facts.items()]
    parts = [f"# fastgan selftest on {report.device}\n\n**{verdict(report)}**\n"]
    kind = "a quick run: few cases, no torch.compile" if report.quick else "a complete run"
    parts.append(f"{kind}, {report.seconds:.0f} s\n")
    for title, head, rows in [("Machine", ["what", "found"], facts), *_tables(report)]:
        parts.append(f"## {title}\n\n{_grid(head, rows)}\n")
    failures = [f"- {_line(failure)}" for failure in report.failures]
    parts.append("## Failures\n\n" + ("\n".join(failures) or "none") + "\n")
    skips = [f"- {what}: {reason}" for what, reason in _reasons(report.skips)]
    parts.append("## Not run\n\n" + ("\n".join(skips) or "nothing") + "\n")
    every = [[*_label(o), "passed" if o.passed else "FAILED", *_errors(o)] for o in report.outcomes]
    head = ["check", "backend", "op", "case", "dtype", "result", "error", "tolerance", "note"]
    parts.append(f"## Every check\n\n{_grid(head, every)}")
    return "\n".join(parts)


def _tables(report: Report) -> list[tuple[str, Cells, list[Cells]]]:
    checks = ["check", "backend", "op", "passed", "worst error / tolerance"]
    times = ["op", "shape", "dtype", "who", "us, minimum (median)", "x eager", "x compile"]
    found = [("Checks", checks, _sums(report)), ("Times, in turn", times, _times(report.speeds))]
    steps = [[name, who, _time(t)] for name, by in report.networks.items() for who, t in by.items()]
    if steps:
        found.append(("Networks", ["what", "who", "us, minimum (median)"], steps))
    return found


def _times(speeds: list[Speed]) -> list[Cells]:
    return [
        [s.op, s.shape, s.dtype, who, _time(t), *(_ratio(s, who, o) for o in ("eager", "compile"))]
        for s in speeds
        for who, t in s.seconds.items()
    ]


def _sums(report: Report) -> list[Cells]:
    groups: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in report.outcomes:
        groups.setdefault((outcome.check, outcome.backend, outcome.op), []).append(outcome)
    return [
        [*key, f"{sum(o.passed for o in found)} of {len(found)}", _worst(found)]
        for key, found in groups.items()
    ]


def _worst(found: list[Outcome]) -> str:
    pairs = [(o.error, o.tolerance) for o in found if o.error is not None and o.tolerance]
    return f"{max(error / tolerance for error, tolerance in pairs):.2f}" if pairs else "-"


def _time(timing: dict[str, float]) -> str:
    return f"{timing['minimum'] * 1e6:.1f} ({timing['median'] * 1e6:.1f})"


def _ratio(s: Speed, who: str, other: str) -> str:
    value = s.ratios.get(who, {}).get(other)
    return "-" if value is None else f"{value:.2f}"


def _label(o: Outcome) -> Cells:
    return [o.check, o.backend, o.op, o.case, o.dtype]


def _errors(o: Outcome) -> Cells:
    return [*("-" if value is None else f"{value:.2e}" for value in (o.error, o.tolerance)), o.note]


def _line(o: Outcome) -> str:
    error, tolerance, note = _errors(o)
    return f"{' / '.join(_label(o))}: error {error}, tolerance {tolerance}; {note}"


def _reasons(skips: list[Skip]) -> list[tuple[str, str]]:
    """Skips of one reason together."""
    together: dict[str, list[str]] = {}
    for skip in skips:
        together.setdefault(skip.reason, []).append(skip.what)
    counted = {reason: list(Counter(what)) for reason, what in together.items()}
    return [(", ".join(what), reason) for reason, what in counted.items()]


def _grid(head: Cells, rows: Iterable[Cells]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines]
    return "\n".join(f"| {line} |" for line in cells) + "\n"
