"""The display of a run: a live progress line on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor

from fastgan.training.hooks import Hook
from fastgan.training.state import TrainingState

if TYPE_CHECKING:
    from fastgan.training.report import Metrics

# Short names for the display; what is not listed is shown under its own name.
_SHORT = {
    "images_per_second": "img/s",
    "loss_d": "loss D",
    "loss_g": "G",
    "d_real_accuracy": "D right on reals",
    "d_fake_accuracy": "on fakes",
    "augment_p": "augment p",
}

_WHOLE = 100_000  # units of the progress bar


class Display(Hook):
    """Shows progress, speed, remaining time, losses and D's accuracy; a table at the end.

    Args:
        metrics: whose last line is shown.
        console: where; None is standard output.
    """

    name = "display"

    def __init__(self, metrics: Metrics, console: Console | None = None) -> None:
        self.metrics = metrics
        self.console = console or Console()
        self._live: Progress | None = None
        self._task = TaskID(0)
        self._shown: dict[str, float] = {}

    def on_start(self, state: TrainingState) -> None:
        self._shown = self.metrics.last
        if not self.console.is_terminal:
            return
        self._live = Progress(
            TextColumn("{task.fields[kimg]} kimg"),
            BarColumn(bar_width=None),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[line]}"),
            console=self.console,
            refresh_per_second=4,
        )
        self._task = self._live.add_task(
            state.name, total=_WHOLE, completed=_done(state), kimg="0.0", line=""
        )
        self._live.start()

    def on_step(self, state: TrainingState, means: Mapping[str, Tensor]) -> None:
        is_new = self.metrics.last is not self._shown
        self._shown = self.metrics.last
        if self._live is not None:
            kimg, line = f"{state.images_seen / 1000:.1f}", one_line(self._shown)
            self._live.update(self._task, completed=_done(state), kimg=kimg, line=line)
        elif is_new:
            speed = self._shown["images_per_second"]
            left = min(
                (state.config.total_images - state.images_seen) / max(speed, 1e-9),
                _limit(state) - _elapsed(state),
            )
            kimg = f"{state.images_seen / 1000:.1f}/{state.config.total_kimg:g} kimg"
            self.console.print(
                f"{kimg}  {one_line(self._shown)}  ETA {_duration(left)}", soft_wrap=True
            )

    def on_error(self, state: TrainingState) -> None:
        if self._live is not None:
            self._live.stop()  # shows the cursor again

    def on_end(self, state: TrainingState) -> None:
        if self._live is not None:
            self._live.stop()
        table = Table("", "value", title=f"{state.name} on {state.dataset.name}", min_width=40)
        table.add_row("ended", state.stopped or "reached its length")
        table.add_row("time", _duration(state.seconds))
        for name, value in self.metrics.last.items():
            table.add_row(_SHORT.get(name, name), f"{value:.6g}")
        self.console.print(table)


def _elapsed(state: TrainingState) -> float:
    """Seconds since this start of the run, to which the time limit applies."""
    return state.seconds - state.seconds_before


def _limit(state: TrainingState) -> float:
    """Seconds that this start may take."""
    minutes = state.config.max_minutes
    return float("inf") if minutes is None else minutes * 60


def _done(state: TrainingState) -> int:
    """How much of _WHOLE is done, by images or by time, whichever ends the run first."""
    return round(_WHOLE * min(max(state.progress, _elapsed(state) / _limit(state)), 1.0))


def one_line(metrics: Mapping[str, float]) -> str:
    """Return the metrics that tell most, in one line."""
    return "  ".join(
        f"{short} {metrics[name]:.3g}" for name, short in _SHORT.items() if name in metrics
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
