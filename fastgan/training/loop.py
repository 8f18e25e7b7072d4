"""The training loop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from torch import Tensor

from fastgan.config import TrainConfig
from fastgan.data import Dataset
from fastgan.errors import ConfigError
from fastgan.training import distributed
from fastgan.training.allocator import ReturnMemory
from fastgan.training.checkpoint import load_checkpoint
from fastgan.training.guard import Guard
from fastgan.training.hooks import Hook
from fastgan.training.profile import Profile
from fastgan.training.recipe import RecipeModule
from fastgan.training.report import default_hooks, profile_hooks
from fastgan.training.spans import LOGGING, STEP
from fastgan.training.state import TrainingState, start_state
from fastgan.training.step import Step
from fastgan.training.transfer import initialize_from


def train(
    config: TrainConfig,
    recipe: RecipeModule,
    dataset: Dataset,
    out_dir: str | Path,
    *,
    resume: str | Path | None = None,
    init_from: str | Path | None = None,
    hooks: Sequence[Hook] | None = None,
    profile: Profile | None = None,
) -> TrainingState:
    """Train a recipe on a dataset until its length, its time limit or an interrupt.

    Args:
        config: settings, of the recipe's Config class.
        recipe: a module of `fastgan.recipes`.
        dataset: images or points.
        out_dir: folder for everything the run writes.
        resume: a checkpoint, or the folder of a run whose newest checkpoint is taken.
        init_from: a checkpoint, the folder of a run, or a model file, whose weights a new run
            starts from, see transfer.py; what was taken over is printed.
        hooks: instead of the log, display, samples, checkpoints and model file of `report`.
        profile: times some steps, one process's, and ends the run after them; its trace is the
            only file that is written.

    Returns: the state at the end; `stopped` says why it ended early, or is None.
    Raises: ConfigError, DataError, CheckpointError; TrainingDivergedError, see guard.py.
    """
    if resume is not None and init_from is not None:
        raise ConfigError(
            "init_from: a resumed run has its weights already; leave out init_from, or leave out "
            "resume to start a new run from these weights"
        )
    state = start_state(config, recipe, dataset)
    if resume is not None:
        load_checkpoint(state, Path(resume))
    elif init_from is not None:
        transfers = initialize_from(state, Path(init_from))
        if distributed.rank() == 0:
            print(*transfers, sep="\n")
    if hooks is None:
        hooks = profile_hooks(config) if profile else default_hooks(config, Path(out_dir))
    # Only one process writes; a recipe's own hooks are part of training and run in all.
    writers = tuple(hooks) if distributed.rank() == 0 else ()
    every_hook = (ReturnMemory(), *state.recipe.hooks, *writers)
    guard = Guard(Path(out_dir), None if resume is None else Path(resume))
    step = (state.recipe.step_type or Step)(state)
    watcher = profile if distributed.rank() == 0 else None

    with _closing(every_hook, state), stop_on_interrupt(state):
        for hook in (guard, *every_hook):
            hook.on_start(state)
        if watcher is not None:
            watcher.start(state)
        while state.images_seen < config.total_images and not _must_stop(state):
            with state.span(STEP):
                means = step()
                with state.span(LOGGING):
                    _after_step(state, means, guard, every_hook)
            if watcher is not None:
                watcher.between_steps(state)
        for hook in (guard, *every_hook):  # the guard first, so that nothing of a NaN is saved
            hook.on_end(state)
        if watcher is not None:
            watcher.finish(state)
    return state


@contextmanager
def _closing(hooks: Sequence[Hook], state: TrainingState) -> Iterator[None]:
    """Let hooks put things in order when an error ends the run, and pass it on."""
    try:
        yield
    except BaseException:
        for hook in hooks:
            with suppress(Exception):  # the error that is on its way says more
                hook.on_error(state)
        raise


def _after_step(
    state: TrainingState, means: Mapping[str, Tensor], guard: Guard, hooks: Sequence[Hook]
) -> None:
    """Tell the hooks; if the guard takes the run back, they hear of that instead."""
    guard.on_step(state, means)
    if guard.must_go_back:
        guard.go_back(state)
        for hook in hooks:
            hook.on_rollback(state)
        return
    for hook in hooks:
        hook.on_step(state, means)


def _must_stop(state: TrainingState) -> bool:
    """Whether any process was interrupted or ran out of time."""
    limit, minutes = state.config.max_minutes, (time.monotonic() - state.started) / 60
    if state.stopped is None and limit is not None and minutes >= limit:
        state.stopped = f"time limit of {limit:g} minutes"
    stop = distributed.any_process(state.stopped is not None)
    if stop and state.stopped is None:
        state.stopped = "another process stopped"
    return stop


@contextmanager
def stop_on_interrupt(state: TrainingState) -> Iterator[None]:
    """End the run after the current step on Ctrl-C or SIGTERM; a second Ctrl-C ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signal handlers
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if state.stopped is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        state.stopped = f"interrupted ({signal.Signals(number).name})"

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
