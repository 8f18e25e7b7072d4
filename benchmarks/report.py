"""Results: one JSON line per measured call, and a Markdown table over them."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

import torch

from benchmarks import tables
from benchmarks.cases import Case, Goal, Pass
from benchmarks.roofline import Peaks
from benchmarks.timing import Timing
from fastgan.dispatch.probe import cpu_capability
from fastgan.files import replacing

Row: TypeAlias = dict[str, Any]
KEYS = ("op", "case", "dtype", "layout", "pass")
RESULTS = Path(__file__).parent / "results"


def machine() -> Row:
    """Return what a number depends on beside the code."""
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": _commit(),
        "cpu": _cpu(),
        "cpu_capability": cpu_capability(),
        "cpu_flags": _cpu_flags(),
        "peers": _peers(),
    }


def rows(case: Case, which: Pass, timings: dict[str, Timing], peaks: Peaks) -> list[Row]:
    """Return one row per provider, without the facts of `machine`."""
    least = peaks.seconds(case.traffic.get(which, 0.0), case.flops.get(which, 0.0))
    goal = case.goals.get(which)
    key = {"op": case.op, "case": case.name, "dtype": str(case.inputs[0].dtype)[6:]}
    key |= {"layout": case.layout, "pass": which}
    return [
        {
            **key,
            "provider": provider,
            **asdict(timing),
            "roofline": least / timing.minimum,
            "copy_fraction": case.traffic.get(which, 0.0) / timing.minimum / peaks.copy,
            "traffic": case.traffic.get(which, 0.0),
            "flops": case.flops.get(which, 0.0),
            "copy_bandwidth": peaks.copy,
            "sgemm": peaks.sgemm,
            "goal": None if goal is None else asdict(goal),
        }
        for provider, timing in timings.items()
    ]


def write(name: str, found: Iterable[Row], folder: Path) -> None:
    """Write the rows of one benchmark to `folder`/`name`.jsonl; of what is there stay the rows of
    cases that these rows are not about."""
    folder.mkdir(parents=True, exist_ok=True)
    path, new = folder / f"{name}.jsonl", list(found)
    cases = {_case(row) for row in new}
    kept = [row for row in read(path) if _case(row) not in cases] if path.exists() else []
    with replacing(path) as temporary:
        lines = [json.dumps(row) + "\n" for row in [*kept, *new]]
        temporary.write_text("".join(lines), encoding="utf-8")


def read(path: Path) -> list[Row]:
    """Return the rows of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _case(row: Row) -> tuple[Any, ...]:
    """What was measured, whoever did it; whole networks name no op."""
    return tuple(row.get(key) for key in KEYS)


def write_page(folder: Path) -> None:
    """Write `folder`/README.md over every .jsonl file there."""
    results = {file.stem: read(file) for file in sorted(folder.glob("*.jsonl"))}
    text = f"# Benchmark results\n\n{_EXPLANATION}\n\n{page(results)}"
    pictures = [f"![{file.stem}]({file.name})" for file in sorted(folder.glob("*.png"))]
    if pictures:
        text += "\n".join(["\n## Plots\n", *pictures, ""])
    (folder / "README.md").write_text(text, encoding="utf-8")


def page(results: Mapping[str, list[Row]]) -> str:
    """Return a section with a table for each benchmark that has rows."""
    sections = [
        f"## {name}\n\n{_facts(found)}\n\n{section(found)}\n"
        for name, found in results.items()
        if found
    ]
    ops = [row for found in results.values() for row in found if "suite" not in row]
    if ops:
        sections.append(f"## Rows that lose\n\n{tables.losers(ops, KEYS)}\n")
    return "\n".join(sections)


def section(found: list[Row]) -> str:
    """Return the table of one benchmark; rows of ops name no suite."""
    suite: str = found[0].get("suite", "ops")
    known = {
        "synthesis": tables.synthesis, "growth": tables.growth, "train": tables.train,
        "metrics": tables.metrics,
    }  # fmt: skip
    return known.get(suite, table)(found)


_EXPLANATION = """\
Written by `python -m benchmarks` (`make bench`). Minimum (median) milliseconds of calls made in
turn in one process, after their results were checked against the specification in float64.
"eager" and "compile" are the fastest of the plain PyTorch ways to write the op, named behind the
slash, and torch.compile of them; x is how many times faster the kernel is, by minimum (median).
"peak" is the least time that the copy bandwidth and SGEMM rate of the run allow, over the minimum;
data that stays in the caches can pass 100%. A goal is the least "x eager" and "x compile". "copy"
is the least bytes of the op per second, as a fraction of the copy bandwidth of the run.

Synthesis: images leave as uint8 [N, H, W, C]; all compute in float32 with as many threads; outputs
were compared with the image of the specification in float64 and with each other. "of the fastest"
is fastgan's time over that of the fastest other contender, by minimum (median). "direct" is the
time that the convolutions by definition would take at the SGEMM rate of the run, "roofline" the sum
over layers of the larger of arithmetic at the SGEMM rate and bytes at the copy bandwidth.

Growth: frames of all sizes, the SGEMM and the copy in turn in one run; the roofline by minimum
(median) rates. "growth" is the time over the roofline, relative to the first size. "resident" is
the peak of resident memory while a frame is made, in a process of its own, without what was there
before the synthesizer; "of the least" is that over the weights as the engine stores them and the
two largest activations.

Training: phases were timed apart, in turn, with their optimiser steps, and combined into images a
second with the lazy penalties at their intervals."""


def table(found: list[Row]) -> str:
    """Return a Markdown table with one line per case, pass and kernel backend."""
    groups: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in found:
        groups.setdefault(tuple(row[key] for key in KEYS), {})[row["provider"]] = row
    head = "op case pass eager compile kernel x_eager x_compile peak goal copy"
    cells = [cell.replace("_", " ") for cell in head.split()]
    lines = [f"| {' | '.join(cells)} |", "|---" * len(cells) + "|"]
    for key, providers in groups.items():
        case = f"{key[1]}, {key[3]}" if key[3] != "contiguous" else key[1]
        kernels: list[str | None] = [name for name in providers if "/" not in name]
        for name in kernels or [None]:
            cells = _cells(providers, name)
            lines.append("| " + " | ".join([key[0], case, key[4], *cells]) + " |")
    return "\n".join(lines)


def _cells(providers: dict[str, Row], kernel: str | None) -> list[str]:
    eager, compiled = fastest(providers, "eager"), fastest(providers, "compile")
    row = None if kernel is None else providers[kernel]
    times = [_time(eager), _time(compiled), _time(row)]
    if row is None:
        return [*times, "-", "-", "-", "-", "-"]
    ratios = [_ratio(eager, row), _ratio(compiled, row)]
    peak = f"{row['roofline']:.0%}" if row["roofline"] else "-"
    copy = f"{row['copy_fraction']:.0%}" if row.get("copy_fraction") else "-"
    return [*times, *ratios, peak, _verdict(row, eager, compiled), copy]


def fastest(providers: dict[str, Row], kind: str) -> Row | None:
    """Return the row of the fastest provider "kind/...", by minimum."""
    found = [row for name, row in providers.items() if name.startswith(f"{kind}/")]
    return min(found, key=lambda row: row["minimum"]) if found else None


def _time(row: Row | None) -> str:
    if row is None:
        return "-"
    way = f" {row['provider'].split('/')[1]}" if "/" in row["provider"] else f" {row['provider']}"
    return f"{row['minimum'] * 1e3:.3g} ({row['median'] * 1e3:.3g}){way}"


def _ratio(other: Row | None, row: Row) -> str:
    if other is None:
        return "-"
    by_minimum, by_median = (other[key] / row[key] for key in ("minimum", "median"))
    return f"{by_minimum:.2f} ({by_median:.2f})"


def _verdict(row: Row, eager: Row | None, compiled: Row | None) -> str:
    if row["goal"] is None:
        return "-"
    goal = Goal(**row["goal"])
    wanted = [(eager, goal.eager), (compiled, goal.compiled)]
    met = all(other["minimum"] >= x * row["minimum"] for other, x in wanted if other is not None)
    asked = f"{goal.eager:.3g}x, {goal.compiled:.3g}x"
    return f"{asked}: {'met' if met else 'missed'}"


def _facts(found: Sequence[Row]) -> str:
    """What the numbers were measured on; rows may come from several runs."""
    rates = ""
    if "copy_bandwidth" in found[0]:  # rows of metrics have no bound
        copy, sgemm = (_range(found, key) for key in ("copy_bandwidth", "sgemm"))
        rates = f"; copy {copy} GB/s, SGEMM {sgemm} GFLOP/s"
    named = {key: _each(found, key) for key in ("torch", "python", "commit", "cpu", "peers")}
    return (
        f"{named['cpu']}, {_each(found, 'cpu_capability')}, {_each(found, 'threads')} threads, "
        f"torch {named['torch']}, Python {named['python']}, commit {named['commit']}"
        f"{rates}{', ' + named['peers'] if named['peers'] else ''}."
    )


def _each(found: Sequence[Row], key: str) -> str:
    """The values of a fact, each once."""
    return " and ".join(dict.fromkeys(str(row[key]) for row in found if row.get(key)))


def _range(found: Sequence[Row], key: str) -> str:
    """The lowest and the highest of a rate, in units of 1e9."""
    values = [row[key] / 1e9 for row in found]
    ends = dict.fromkeys(f"{value:.3g}" for value in (min(values), max(values)))
    return " to ".join(ends)


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.split(":", 1)[1].split())
    return platform.processor() or platform.machine()


def _cpu_flags() -> str:
    """Return the flags of the vector and matrix units, as Linux lists them."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    found = next((line for line in lines if line.startswith(("flags", "Features"))), ":")
    kinds = ("sse4", "avx", "fma", "f16c", "amx", "neon", "asimd", "sve")
    return " ".join(flag for flag in found.split(":", 1)[1].split() if flag.startswith(kinds))


def _peers() -> str:
    """Return the versions of the runtimes that are compared with, where they are installed."""
    found = []
    for name in ("onnxruntime", "openvino", "scipy"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _commit() -> str:
    """Return the commit, with a plus sign when tracked files outside the results differ."""
    root = Path(__file__).resolve().parents[1]
    try:
        head = _git(root, "rev-parse", "--short", "HEAD")
        changed = _git(root, "status", "--porcelain", "-uno", "--", ".", ":!benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
