"""What happens beside training: the Hook interface, and what hooks are made of.

Files, logs and the display are in report.py, the guard in guard.py. Hooks read the state between
two steps; only the guard and a recipe's own hooks change it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fastgan.errors import CheckpointError, FastganError
from fastgan.training.state import TrainingState


class TrainingDivergedError(FastganError, RuntimeError):
    """Training went wrong for good; the message says how and what to try. See guard.py."""


class Hook:
    """Called by the loop; every method may be left out.

    Attributes:
        name: key of its state in a checkpoint.
    """

    name: str = "hook"

    def on_start(self, state: TrainingState) -> None:
        """Before the first step of this start; a resumed run is at its checkpoint already."""

    def on_step(self, state: TrainingState, means: Mapping[str, Tensor]) -> None:
        """After each step.

        Args:
            means: what the step recorded, averaged over the global batch: scalars to log by their
                name, and tensors under names with a slash. Converting one to a number waits for
                the device, so do not do it in every step.
        """

    def on_rollback(self, state: TrainingState) -> None:
        """Instead of `on_step`, when the guard took the run back to a checkpoint.

        The state is that of the checkpoint; whatever was gathered since is of steps that are gone.
        """

    def on_end(self, state: TrainingState) -> None:
        """After the last step, however the run ends other than by an error."""

    def on_error(self, state: TrainingState) -> None:
        """When an error ends the run: let go of the terminal and of files, and save nothing."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a checkpoint has to keep; asked only of a recipe's own hooks."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state_dict` returned."""
        if state:
            raise CheckpointError(f"{self.name} keeps no state, got {', '.join(state)}")


class Every:
    """Says when another `kimg` thousand images have been seen, with no state of its own.

    Args:
        kimg: interval; 0 means never.
    """

    def __init__(self, kimg: float) -> None:
        self.kimg = kimg
        self._last: int | None = None

    def due(self, images_seen: int) -> bool:
        """Whether a multiple of the interval lies between the last call and this one."""
        last, self._last = self._last, images_seen
        if self.kimg <= 0 or last is None:
            return False
        return images_seen // (self.kimg * 1000) > last // (self.kimg * 1000)


class Averages:
    """Means of scalars over the steps since the last reading, kept on their device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, means: Mapping[str, Tensor]) -> None:
        """Add one step; tensors that are not scalars are left out."""
        for name, mean in means.items():
            if mean.ndim == 0:
                self._sums[name] = self._sums.get(name, torch.zeros_like(mean)) + mean
                self._counts[name] = self._counts.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        """Return the means as numbers and start again."""
        values = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return values
