"""Which algorithm computes each convolution of the C++ engine: measured once, kept on disk.

The engine has a rule of its own (csrc/engine/choice.cpp); what was measured on this machine comes
first. The file may be deleted at any time: then the rule holds again.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import torch

from fastgan.files import write_json

VERSION = 4  # of the file and of what the choices mean and were measured against
GROUP = 6  # ways to compute a layer that are in memory at a time
SPLITS = ("team", "rows", "channels")  # how threads share a layer
MIN_GAIN = 0.98  # of the default's time: less is noise

Choice: TypeAlias = dict[str, Any]

log = logging.getLogger("fastgan")


class Shape(NamedTuple):
    """A convolution: channels, size of the input, with upsampling or without."""

    in_channels: int
    out_channels: int
    height: int
    width: int
    up: bool


class Measured(NamedTuple):
    """What tuning found for a shape: seconds of the default and of the best choice."""

    shape: Shape
    default_seconds: float
    seconds: float
    choice: Choice


def engine_module() -> ModuleType | None:
    """The extension module, or None where it was not built."""
    if importlib.util.find_spec("fastgan._engine") is None:
        return None
    return importlib.import_module("fastgan._engine")


def engine_status() -> str:
    """Whether the C++ engine can render here and for which instruction set, in a few words."""
    module = engine_module()
    if module is None:
        return "not built; torch renders, slower"
    try:
        return f"built, {module.isa()}, {'tuned' if cache_file().is_file() else 'not tuned'}"
    except ValueError as error:
        return f"unusable: FASTGAN_CPU_CAPABILITY: {error}"


def cache_file() -> Path:
    """Where choices are kept: fastgan/tuning.json in $XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fastgan" / "tuning.json"


def tuned_choices(shapes: Sequence[Shape], half: bool, isa: str = "") -> list[Choice | None]:
    """Return the measured choice of each convolution for the present number of threads; None where
    nothing was measured."""
    entries = _read(cache_file())
    return [entries.get(_key(shape, half, isa)) for shape in shapes]


def tune(
    shapes: Iterable[Shape],
    *,
    half: bool = False,
    rounds: int = 5,
    report: Callable[[Measured], object] = lambda _: None,
) -> list[Measured]:
    """Measure every way to compute each convolution, keep the best on disk, and return them.

    All ways of a shape are run in turn, so that a slow moment of the machine hits all alike.

    Args:
        shapes: convolutions; each distinct one is measured once.
        half: for weights in half precision.
        rounds: runs of each way, at least 1; the fastest counts.
        report: called with each result as it comes.

    Raises:
        RuntimeError: the engine is not built.
        ValueError: rounds is below 1.
    """
    engine = engine_module()
    if engine is None:
        raise RuntimeError("fastgan._engine was not built; install fastgan where a compiler is")
    if rounds < 1:
        raise ValueError(f"rounds: expected at least 1, got {rounds}")
    results = []
    for shape in dict.fromkeys(shapes):
        result = _measure(engine, shape, half, rounds)
        results.append(result)
        report(result)
    entries = _read(cache_file())
    entries |= {_key(result.shape, half, ""): result.choice for result in results}
    write_json(cache_file(), {"version": VERSION, "choices": entries})
    return results


def _measure(engine: ModuleType, shape: Shape, half: bool, rounds: int) -> Measured:
    threads = torch.get_num_threads()
    default: Choice = engine.default_choice(*shape, threads)
    found: list[tuple[float, float, Choice]] = []
    candidates = [choice for choice in engine.candidates(*shape, threads) if choice != default]
    for start in range(0, len(candidates), GROUP):
        group = [default, *candidates[start : start + GROUP]]
        seconds = engine.time_choices(*shape, group, half, threads, rounds)
        found += [(s / seconds[0], s, c) for s, c in zip(seconds, group, strict=True)]
    found.sort(key=lambda entry: entry[0])
    # The best are measured again, side by side: the fastest of many by luck is not the best.
    finalists = [default, *[c for ratio, _, c in found[:GROUP] if ratio < 1]]
    seconds = engine.time_choices(*shape, finalists, half, threads, 3 * rounds)
    best = min(range(len(finalists)), key=lambda i: seconds[i])
    if seconds[best] > MIN_GAIN * seconds[0]:
        best = 0
    return Measured(shape, seconds[0], seconds[best], finalists[best])


def _key(shape: Shape, half: bool, isa: str) -> str:
    engine = engine_module()
    used = "" if engine is None else engine.isa(isa)
    kind = "up" if shape.up else "conv"
    sizes = f"{shape.in_channels}-{shape.out_channels} {shape.height}x{shape.width}"
    precision = "fp16" if half else "fp32"
    return f"{cpu_model()} | {used} | {torch.get_num_threads()} | {precision} | {kind} {sizes}"


def cpu_model() -> str:
    """The name of this machine's CPU."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _read(path: Path) -> dict[str, Choice]:
    """The entries of the file; none where it is missing, damaged or of another version."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            return {}
        return {key: _checked(choice) for key, choice in content["choices"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning(f"{path}: not read ({error}); the default choices hold. It may be deleted.")
        return {}


def _checked(choice: Choice) -> Choice:
    ranges = {"tile": (1, 4), "batch": (1, 4096), "columns": (1, 4)}
    if set(choice) != {*ranges, "split"} or choice["split"] not in SPLITS:
        raise ValueError(f"not a choice: {choice}")
    for name, (low, high) in ranges.items():
        if not isinstance(choice[name], int) or not low <= choice[name] <= high:
            raise ValueError(f"{name} must be {low} to {high}, got {choice[name]!r}")
    return choice
