"""Where the time of a step goes: a table of its parts, and a trace of some steps for Chrome.

A profile watches a run that ends after the profiled steps. It changes no number of the run, which
can be resumed like any other that was stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from fastgan import timing
from fastgan.config import check_range
from fastgan.files import replacing
from fastgan.training.spans import DATA, EMA, LOGGING, OPTIMIZER, STEP, unwatched
from fastgan.training.state import TrainingState

TRACE = "trace.json"
TRACED_STEPS = 2
FEWEST_STEPS = 8  # by default
OTHER = "other"


@dataclass
class Visit:
    """One run through a phase, the averages or the hooks of a step.

    Attributes:
        phase: its name.
        seconds: of itself and of each part inside it, without the parts inside that.
        is_traced: torch's profiler ran, which takes time of its own.
    """

    phase: str
    is_traced: bool
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        part: its name.
        seconds: of one occurrence; None when it was not due in the profiled steps.
        per_step: occurrences per step.
        share: of the time of a step.
    """

    part: str
    seconds: float | None
    per_step: float
    share: float

    @property
    def amortised(self) -> float:
        """Seconds per step."""
        return (self.seconds or 0.0) * self.per_step


@dataclass(frozen=True)
class Report:
    """What a profile found.

    Attributes:
        rows: the parts of a step.
        steps: how many were profiled.
        seconds: of one step, lazy penalties by their share.
        images_per_second: that go through a step.
        trace: the file to open in chrome://tracing or ui.perfetto.dev.
        traced_steps: the steps in it, first and last.
    """

    rows: tuple[Row, ...]
    steps: int
    seconds: float
    images_per_second: float
    trace: Path
    traced_steps: tuple[int, int]


class Recorder:
    """Keeps the seconds of the parts of steps; its `span` takes the place of `unwatched`."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.is_tracing = False
        self._inner: list[float] = []  # seconds of the parts inside each open part
        self._visit = Visit(STEP, False)

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Time a part, without the parts inside it."""
        depth = len(self._inner)
        if depth <= 1:
            self._visit = Visit(name, self.is_tracing)
        visit = self._visit
        self._inner.append(0.0)
        shown = torch.profiler.record_function(f"fastgan: {name}")
        started = timing.now()
        try:
            with shown if self.is_tracing else nullcontext():
                yield
        finally:  # also when memory ran out inside, after which the step goes on
            elapsed = timing.now() - started
            visit.seconds[name] = visit.seconds.get(name, 0.0) + elapsed - self._inner.pop()
            if depth > 0:
                self._inner[-1] += elapsed
            if depth <= 1:
                self.visits.append(visit)


class Profile:
    """Times some steps of a run and then ends it; hand it to `train`.

    The time of a part excludes the parts inside it: D is without its data and its optimiser.

    Args:
        out_dir: folder of the run; the trace goes there.
        steps: steps to time. None: until each lazy penalty has been due, and at least 8.
        warmup: steps before that.
        console: where the table is printed; None is standard output.

    Attributes:
        report: what was found, after the run; None when it ended before a step was timed.
    """

    def __init__(
        self,
        out_dir: str | Path,
        steps: int | None = None,
        *,
        warmup: int = 2,
        console: Console | None = None,
    ) -> None:
        check_range("profile steps", steps, low=1)
        check_range("profile warmup", warmup, low=0)
        self.out_dir, self.warmup = Path(out_dir), warmup
        self.console = console or Console()
        self.report: Report | None = None
        self._wanted = steps
        self._recorder = Recorder()
        self._begin = self._end = self._images = 0
        self._traced = (0, 0)
        self._tracer: torch.profiler.profile | None = None

    def start(self, state: TrainingState) -> None:
        """Plan the steps; called before the first one of this start."""
        every = [reg.every for reg in state.recipe.regularizers if reg.is_lazy]
        self._begin = state.step + self.warmup
        self._end = self._begin + (self._wanted or max([FEWEST_STEPS, *every]))

        def due(step: int) -> int:
            return sum(step % interval == 0 for interval in every)

        fullest = max(range(self._begin, self._end), key=due)
        first = max(self._begin, min(fullest, self._end - TRACED_STEPS))
        self._traced = (first, min(first + TRACED_STEPS, self._end))
        self.between_steps(state)

    def between_steps(self, state: TrainingState) -> None:
        """Begin and end what the coming step needs; the time this takes counts nowhere."""
        if state.step == self._traced[1]:
            self._stop_tracing()
        if state.step == self._begin:
            state.span, self._images = self._recorder.span, state.images_seen
        if state.step == self._traced[0]:
            self._start_tracing(state.device)
        if state.step == self._end:
            state.span = unwatched
            state.stopped = state.stopped or f"{self._end - self._begin} steps profiled"

    def finish(self, state: TrainingState) -> None:
        """Report, after the last step however the run ended."""
        state.span = unwatched
        self._stop_tracing()
        steps = min(state.step, self._end) - self._begin
        if steps < 1:
            self.console.print(f"profile: the run ended in its {self.warmup} steps of warm-up")
            return
        rows = summarize(self._recorder.visits, steps, _intervals(state))
        seconds = sum(row.amortised for row in rows)
        images = (state.images_seen - self._images) / steps
        first, last = self._traced[0], min(self._traced[1], state.step) - 1
        self.report = Report(
            rows, steps, seconds, images / seconds, self.out_dir / TRACE, (first, last)
        )
        show(self.report, self.console)

    def _start_tracing(self, device: torch.device) -> None:
        activities = [torch.profiler.ProfilerActivity.CPU]
        if device.type == "cuda":
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        self._tracer = torch.profiler.profile(activities=activities, acc_events=True)
        self._tracer.start()
        self._recorder.is_tracing = True

    def _stop_tracing(self) -> None:
        if self._tracer is None:
            return
        self._recorder.is_tracing = False
        self._tracer.stop()
        with replacing(self.out_dir / TRACE) as temporary:
            self._tracer.export_chrome_trace(str(temporary))
        self._tracer = None


def _intervals(state: TrainingState) -> dict[str, int]:
    """Lazy penalties by name, and the steps from one to the next."""
    return {reg.name: reg.every for reg in state.recipe.regularizers if reg.is_lazy}


def summarize(visits: Sequence[Visit], steps: int, intervals: dict[str, int]) -> tuple[Row, ...]:
    """Return the parts of a step with what they take, lazy penalties spread over their interval.

    Visits that were traced count only in phases that have no other.

    Args:
        visits: from a Recorder.
        steps: that were profiled.
        intervals: steps between two occurrences of a lazy penalty, by its name.
    """
    often: dict[str, float] = {}
    amortised: dict[str, float] = {}
    for phase in dict.fromkeys([visit.phase for visit in visits]):
        found = [visit for visit in visits if visit.phase == phase]
        rate = 1 / intervals[phase] if phase in intervals else len(found) / steps
        found = [visit for visit in found if not visit.is_traced] or found
        for part in dict.fromkeys(name for visit in found for name in visit.seconds):
            mean = sum(visit.seconds.get(part, 0.0) for visit in found) / len(found)
            often[part] = often.get(part, 0.0) + rate
            amortised[part] = amortised.get(part, 0.0) + rate * mean
    total = sum(amortised.values())
    order = [DATA, "D", "G", *intervals]
    last = [OPTIMIZER, EMA, LOGGING, STEP]
    order += [part for part in amortised if part not in order + last] + last
    rows = []
    for part in order:
        name = OTHER if part == STEP else part
        if part in amortised:
            seconds, rate = amortised[part] / often[part], often[part]
            rows.append(Row(name, seconds, rate, amortised[part] / total))
        elif part in intervals:
            rows.append(Row(name, None, 1 / intervals[part], 0.0))
    return tuple(rows)


def show(report: Report, console: Console) -> None:
    """Print the table, the speed, and where the trace is."""
    table = Table(title=f"{report.steps} steps profiled")
    table.add_column("part")
    for heading in ("ms each", "each step", "ms a step", "%"):
        table.add_column(heading, justify="right")
    for row in report.rows:
        each = "not due" if row.seconds is None else f"{row.seconds * 1e3:.2f}"
        a_step = f"{row.amortised * 1e3:.2f}"
        table.add_row(row.part, each, f"{row.per_step:.4g}", a_step, f"{row.share:.1%}")
    table.add_section()
    table.add_row("step", "", "", f"{report.seconds * 1e3:.2f}", "100.0%")
    console.print(table)
    missing = [row.part for row in report.rows if row.seconds is None]
    if missing:
        names = ", ".join(missing)
        console.print(f"without {names}, which no profiled step had: profile more steps")
    console.print(f"{report.images_per_second:.2f} images/s")
    first, last = report.traced_steps
    console.print(
        f"steps {first} to {last} in {report.trace}: open it in chrome://tracing or "
        "ui.perfetto.dev",
        soft_wrap=True,
    )
