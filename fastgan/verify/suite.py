"""The whole selftest: what runs, in which order, and the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import Progress

from fastgan.dispatch import probe
from fastgan.verify import cases, parity, repeat, speed, training
from fastgan.verify.device import Device
from fastgan.verify.parity import Outcome, Skip
from fastgan.verify.speed import Speed


@dataclass(frozen=True)
class Report:
    """What a selftest found.

    Attributes:
        device: kind that was verified.
        quick: whether it was a quick run.
        facts: versions and hardware.
        backends: {op: {backend: "available" or why not}}.
        outcomes: every check.
        skips: what did not run.
        speeds: times of calls.
        networks: times of networks, by name.
        seconds: that it all took.
    """

    device: str
    quick: bool
    facts: dict[str, str]
    backends: dict[str, dict[str, str]]
    outcomes: list[Outcome]
    skips: list[Skip]
    speeds: list[Speed]
    networks: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def failures(self) -> list[Outcome]:
        """Checks that did not pass."""
        return [outcome for outcome in self.outcomes if not outcome.passed]

    @property
    def ran(self) -> list[str]:
        """Kernel backends that were compared."""
        return sorted({o.backend for o in self.outcomes if o.check == "parity"})

    @property
    def ok(self) -> bool:
        """Every check passed, and there was a backend with kernels to check."""
        return bool(self.ran) and not self.failures

    def as_dict(self) -> dict[str, Any]:
        """The report and its verdict."""
        return {"ok": self.ok, "ran": self.ran} | asdict(self)


def run(device: Device, *, quick: bool, console: Console) -> Report:
    """Verify and time everything on the device."""
    started = time.perf_counter()
    found, calls = cases.cases(quick=quick), speed.chosen(device, quick=quick)
    outcomes: list[Outcome] = []
    skipped = parity.skips(device, quick=quick)
    speeds: list[Speed] = []
    with ExitStack() as stack:
        bar = stack.enter_context(Progress(console=console, transient=True))
        step = _stage(bar, "parity", len(found))
        outcomes += parity.check(found, device, quick=quick, progress=step)
        _stage(bar, "same bits, memory", None)
        outcomes += repeat.same_bits(found, device, quick=quick)
        outcomes += repeat.memory(found, device, quick=quick)
        step = _stage(bar, "times", len(calls))
        for timed in speed.time_all(calls, device, quick=quick, progress=step):
            (speeds if isinstance(timed, Speed) else skipped).append(timed)  # type: ignore[arg-type]
        _stage(bar, "networks", None)
        networks, unmeasured = training.measure_networks(device, quick=quick)
    return Report(
        device.kind, quick, device.facts(), probe.backend_table(device.kind), outcomes,
        skipped + unmeasured, speeds, networks, time.perf_counter() - started,
    )  # fmt: skip


def _stage(bar: Progress, name: str, total: int | None) -> Callable[[], None]:
    task = bar.add_task(name, total=total)
    return lambda: bar.advance(task)
