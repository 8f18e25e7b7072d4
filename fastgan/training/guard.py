"""The guard of a run: says what goes wrong, returns to the last good checkpoint, ends the run.

What counts as wrong is in alarms.py. The guard runs in every process, on numbers that are the same
in all of them, and changes nothing of a run that goes well.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.metrics.diversity import mean_pairwise_distance
from fastgan.training import distributed
from fastgan.training.alarms import DIVERSITY, Detector, NotFinite, Severity, all_detectors
from fastgan.training.checkpoint import (
    delete_abandoned,
    find_checkpoint,
    last_good_checkpoint,
    load_checkpoint,
    read_about,
)
from fastgan.training.draws import stable_seed
from fastgan.training.hooks import Every, Hook, TrainingDivergedError
from fastgan.training.state import TrainingState

READ_STEPS = 16  # reading numbers waits for the device, so not in every step
DIVERSITY_KIMG = 4.0
SAMPLES = 32  # fakes, and reals, whose distances are compared
POOLED = 64  # larger images are compared at this size: structure, not grain
QUIET_STEPS = 1000  # an alarm that returns within so many steps is not said again


class Guard(Hook):
    """Watches a run for NaN, exploding losses, collapse and the like; see `TrainConfig.guard`.

    After a roll-back networks, averages, optimisers, counters and the position in the data are
    those of the checkpoint; the numbers drawn from there on are others. Time goes on counting.

    Args:
        out_dir: folder of the run, where its checkpoints are.
        resumed: the checkpoint the run started from, to which it may return as well.

    Where there is no good checkpoint yet, a NaN ends the run, and it goes on after lesser damage.

    Attributes:
        must_go_back: the loop is to call `go_back` instead of the other hooks' `on_step`.
    """

    name = "guard"

    def __init__(self, out_dir: Path, resumed: Path | None = None) -> None:
        self.out_dir = out_dir
        self.resumed = None if resumed is None else find_checkpoint(resumed)
        self.must_go_back = False
        self._target = Path()
        self._real_distance: float | None = None

    def on_start(self, state: TrainingState) -> None:
        config = state.config
        everything = all_detectors(config.batch)
        self._detectors = (NotFinite(),) if config.guard == "off" else everything
        self._pending: list[tuple[int, dict[str, Tensor]]] = []
        self._last_fired: dict[str, int] = {}
        self._log, self._checkpoint = Every(config.log_kimg), Every(config.checkpoint_kimg)
        self._diversity = Every(0.0 if config.guard == "off" else DIVERSITY_KIMG)
        for every in (self._log, self._checkpoint, self._diversity):
            every.due(state.images_seen)
        state.alarms = state.remarks = ()

    def on_step(self, state: TrainingState, means: Mapping[str, Tensor]) -> None:
        seen = state.images_seen
        values = {name: mean for name, mean in means.items() if mean.ndim == 0}
        if self._diversity.due(seen) and (ratio := self._measure_diversity(state)) is not None:
            values[DIVERSITY] = torch.tensor(ratio, device=state.device)
        log, checkpoint = self._log.due(seen), self._checkpoint.due(seen)
        is_last = seen >= state.config.total_images
        if checkpoint or is_last:
            values["weights"] = _weights(state)
        self._pending.append((seen, values))
        if log or checkpoint or is_last or len(self._pending) >= READ_STEPS:
            self._look(state)

    def on_end(self, state: TrainingState) -> None:
        if self._pending:  # the run was stopped; what comes next is a checkpoint
            self._look(state, can_go_back=False)

    def go_back(self, state: TrainingState) -> None:
        """Bring the run to its last good checkpoint, and have it draw other numbers from there.

        Raises: CheckpointError when the checkpoint cannot be read.
        """
        before, rollbacks, seconds = state.step, state.rollbacks + 1, state.seconds_before
        load_checkpoint(state, self._target)
        state.rollbacks, state.seconds_before = rollbacks, seconds
        torch.manual_seed(stable_seed(state.config.seed, "rollback", rollbacks))
        distributed.any_process(False)  # nobody reads the checkpoints that go now
        if distributed.rank() == 0:
            delete_abandoned(self.out_dir, state.step, before)
        self.must_go_back = False
        self.on_start(state)
        distributed.announce(
            f"guard: back from step {before} to {self._target}, roll-back {rollbacks} of at most "
            f"{state.config.guard_rollbacks}"
        )

    def _look(self, state: TrainingState, *, can_go_back: bool = True) -> None:
        """Show the detectors what was recorded since the last look, and act on what they say."""
        fired: dict[Detector, str] = {}
        now: set[Detector] = set()
        for seen, values in _numbers(self._pending, state.device):
            now = set()
            for detector in self._detectors:
                wrong = detector.see(values)
                if wrong is not None:
                    now.add(detector)
                    fired.setdefault(detector, _line(detector, wrong, seen))
        self._pending = []
        watched = [d for d in self._detectors if d in now or d in fired or d.is_suspicious]
        state.alarms = tuple(d.name for d in watched if d.severity != "advice")
        state.remarks = tuple(d.name for d in watched if d.severity == "advice")
        for detector, line in fired.items():
            last = self._last_fired.get(detector.name)
            if last is None or state.step - last > QUIET_STEPS:
                distributed.announce(line)
            self._last_fired[detector.name] = state.step
        self._act(state, fired, can_go_back)

    def _act(self, state: TrainingState, fired: dict[Detector, str], can_go_back: bool) -> None:
        """Have the run go back or end, if that is what a finding calls for in this mode."""

        def found(severity: Severity) -> bool:
            return distributed.any_process(any(d.severity == severity for d in fired))

        is_fatal, is_damage = found("fatal"), found("damage")
        goes_back = state.config.guard == "rollback" and can_go_back
        line = next(iter(fired.values()), "another process found something wrong")  # worst first
        if is_fatal and not goes_back:
            raise TrainingDivergedError(f"training diverged: {line}")
        if not goes_back or not (is_fatal or is_damage):
            return
        if state.rollbacks >= state.config.guard_rollbacks:
            raise TrainingDivergedError(
                f"training diverged: {line}. It was taken back {state.rollbacks} times already "
                "(guard_rollbacks); change a setting, or resume with --guard warn"
            )
        target = self._find_target(state)
        if not distributed.any_process(target is None) and target is not None:
            self._target, self.must_go_back = target, True
        elif is_fatal:
            raise TrainingDivergedError(
                f"training diverged: {line}. There is no good checkpoint to go back to"
            )

    def _find_target(self, state: TrainingState) -> Path | None:
        found = last_good_checkpoint(self.out_dir, state.step)
        if found is None and self.resumed is not None and self.resumed.is_dir():
            return self.resumed if not read_about(self.resumed).get("alarms") else None
        return found

    def _measure_diversity(self, state: TrainingState) -> float | None:
        """Return how much fakes differ from one another, relative to reals; None if reals do not.

        The generator as it trains is asked, not its average, which would tell late.
        """
        if self._real_distance is None:
            indices = state.order.indices(0, max(min(SAMPLES, len(state.dataset)), 2))
            reals, _ = state.dataset.batch(indices, None)
            self._real_distance = mean_pairwise_distance(_pooled(reals))
        if self._real_distance == 0:
            return None
        fakes = state.sample(SAMPLES, phase="guard", averaged=False)
        return mean_pairwise_distance(_pooled(fakes)) / self._real_distance


def _line(detector: Detector, wrong: str, seen: int) -> str:
    return f"guard: {detector.name}: {wrong} at {seen / 1000:.1f} kimg. Try {detector.advice}"


def _numbers(
    pending: list[tuple[int, dict[str, Tensor]]], device: torch.device
) -> list[tuple[int, dict[str, float]]]:
    """Bring what was recorded to the CPU, all at once."""
    tensors = [mean.to(device, torch.float32) for _, values in pending for mean in values.values()]
    numbers = iter(torch.stack(tensors).tolist() if tensors else [])
    return [(seen, {name: next(numbers) for name in values}) for seen, values in pending]


def _weights(state: TrainingState) -> Tensor:
    """Return 0, or NaN if anything that a checkpoint would keep of the players is not finite."""
    tensors = [value for player in state.players.values() for value in player.state_dict().values()]
    finite = [value.isfinite().all().to(state.device) for value in tensors]
    return torch.where(torch.stack(finite).all(), 0.0, torch.nan)


def _pooled(images: Tensor) -> Tensor:
    """Average large images [N, C, H, W] over blocks; points stay as they are."""
    if images.ndim != 4 or max(images.shape[2:]) <= POOLED:
        return images
    height, width = (min(size, POOLED) for size in images.shape[2:])
    return F.adaptive_avg_pool2d(images.float(), (height, width))
