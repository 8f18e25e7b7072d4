"""Checkpoints: all a run needs to go on exactly as if it had not stopped.

A checkpoint is a folder `step-<n>` with `tensors.safetensors` and `state.json`. It is written
under another name and renamed when complete, so a folder of that name is whole. Nothing here is
pickled: reading a checkpoint runs no code from it.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from fastgan._version import __version__
from fastgan.config import TrainConfig
from fastgan.errors import CheckpointError, ConfigError
from fastgan.files import sha256, write_json
from fastgan.synthesis.model_file import load_tensors, save_tensors
from fastgan.training.augment import Augmentation
from fastgan.training.distributed import announce
from fastgan.training.hooks import Hook
from fastgan.training.player import PlayerState, select
from fastgan.training.regularizers import Regularizer
from fastgan.training.state import TrainingState

FOLDER = "checkpoints"
_FORMAT = 1
_ENTRIES = frozenset(
    ("format", "recipe", "config", "dataset", "step", "images_seen", "seconds", "sha256")
)
_TENSORS, _STATE = "tensors.safetensors", "state.json"
_Part: TypeAlias = PlayerState | Regularizer | Augmentation | Hook


def save_checkpoint(state: TrainingState, out_dir: Path) -> Path:
    """Write a checkpoint of the run and delete the oldest ones.

    Args:
        state: between two steps.
        out_dir: folder of the run.

    Returns: the checkpoint's folder.
    Raises: OSError when it cannot be written; earlier checkpoints stay.
    """
    folder = out_dir / FOLDER
    final, temporary = folder / f"step-{state.step:09d}", folder / f".writing-{state.step:09d}"
    for left in folder.glob(".writing-*"):  # by a process that was killed; one alone writes
        shutil.rmtree(left, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        save_tensors(temporary / _TENSORS, _tensors(state), {})
        about = _about(state) | {"sha256": sha256(temporary / _TENSORS)}
        write_json(temporary / _STATE, about)
        for path in (temporary / _TENSORS, temporary / _STATE, temporary):
            _flush(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)  # a full disk needs the room
        raise
    if final.exists():
        shutil.rmtree(final)
    os.rename(temporary, final)
    _flush(folder)
    _delete_old(out_dir, state.config.keep_checkpoints, state.step)
    return final


def take_folder(state: TrainingState, out_dir: Path) -> None:
    """See that the checkpoints in a folder are those that led to this state.

    Those of later steps, which a resume from an earlier one leaves behind, are set aside under the
    name `abandoned-<n>` (`abandoned-<n>-2` and so on where that is taken), so that nothing of them
    is lost and nothing takes them for this run's.

    Raises: ConfigError when a new run finds checkpoints of another.
    """
    found = checkpoints(out_dir)
    if found and state.step == 0:
        raise ConfigError(
            f"{out_dir} holds a run with checkpoints: go on with it (resume), or choose another "
            "folder for the new run"
        )
    for path in found:
        if step_of(path) > state.step:
            aside = _free_name(path.with_name(path.name.replace("step-", "abandoned-")))
            os.rename(path, aside)
            announce(f"{path.name} is later than step {state.step} of this start: now {aside}")


def _free_name(path: Path) -> Path:
    """Return a path next to `path` at which there is nothing yet: itself, or with a number."""
    names = (path.with_name(f"{path.name}-{n}") for n in itertools.count(2))
    return next(name for name in itertools.chain([path], names) if not name.exists())


def _delete_old(out_dir: Path, keep: int, step: int) -> None:
    """Keep so many checkpoints up to a step, and the newest good one, where the guard returns."""
    found = [path for path in checkpoints(out_dir) if step_of(path) <= step]
    good = next((path for path in reversed(found) if not _alarms(path)), None)
    for old in found[:-keep]:
        if old != good:
            shutil.rmtree(old)


def checkpoints(out_dir: Path) -> list[Path]:
    """List the complete checkpoints of a run, oldest first."""
    return sorted((out_dir / FOLDER).glob("step-*"))


def find_checkpoint(path: Path) -> Path:
    """Return `path` if it is a checkpoint, or the newest one if it is the folder of a run.

    Raises: CheckpointError when there is none.
    """
    if (path / _STATE).is_file():
        return path
    found = checkpoints(path)
    if not found:
        raise CheckpointError(f"{path}: no checkpoint here (looked for {FOLDER}/step-*)")
    return found[-1]


def last_good_checkpoint(out_dir: Path, last_step: int) -> Path | None:
    """Return the newest checkpoint to go back to, None when there is none.

    It was written while the guard found nothing wrong, and all its numbers are finite.

    Args:
        out_dir: folder of the run.
        last_step: checkpoints of later steps are not the run's.
    """
    for path in reversed(checkpoints(out_dir)):
        if step_of(path) <= last_step and not _alarms(path) and _is_finite(path):
            return path
    return None


def delete_abandoned(out_dir: Path, after: int, last_step: int) -> None:
    """Delete the checkpoints of the steps that a roll-back took back."""
    for path in checkpoints(out_dir):
        if after < step_of(path) <= last_step:
            shutil.rmtree(path)


def step_of(path: Path) -> int:
    """Return the step of a checkpoint's folder."""
    return int(path.name.removeprefix("step-"))


def _alarms(path: Path) -> list[str]:
    """What was wrong when a checkpoint was written; an unreadable one counts as wrong."""
    try:
        return list(read_about(path).get("alarms", []))
    except CheckpointError as error:
        return [str(error)]


def _is_finite(path: Path) -> bool:
    tensors, _ = load_tensors(path / _TENSORS)
    return all(bool(value.isfinite().all()) for value in tensors.values())


def load_checkpoint(state: TrainingState, path: Path) -> None:
    """Bring a fresh run to where the checkpoint was written, torch's random numbers included.

    Raises:
        CheckpointError: the checkpoint is missing or damaged, or of another recipe, dataset or
            configuration; the message names what differs.
    """
    folder = find_checkpoint(path)
    about = read_about(folder)
    _check_same_run(state, about, folder)
    tensors = load_verified(folder)
    for prefix, part in _parts(state).items():
        part.load_state_dict(select(tensors, f"{prefix}/"))
    torch.set_rng_state(tensors["rng/cpu"])
    if state.device.type == "cuda" and "rng/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng/cuda"], state.device)
    state.step, state.images_seen = about["step"], about["images_seen"]
    state.seconds_before = about["seconds"]
    state.rollbacks = about.get("rollbacks", 0)


def load_verified(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of a checkpoint, by their names in the file.

    Raises: CheckpointError when a file is missing or damaged.
    """
    about = read_about(folder)
    if sha256(folder / _TENSORS) != about["sha256"]:
        raise CheckpointError(f"{folder}: {_TENSORS} is damaged (checksum differs)")
    return load_tensors(folder / _TENSORS)[0]


def read_about(folder: Path) -> dict[str, Any]:
    """Return the JSON part of a checkpoint: recipe, config, dataset and counters.

    Raises: CheckpointError when a file is missing, damaged or of another format.
    """
    for name in (_STATE, _TENSORS):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder}: not a checkpoint, {name} is missing")
    try:
        about: dict[str, Any] = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        missing = _ENTRIES - set(about)
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError) as error:
        raise CheckpointError(f"{folder}: {_STATE} is damaged ({error})") from error
    if missing or about["format"] != _FORMAT:
        raise CheckpointError(f"{folder}: {_STATE} is not of format {_FORMAT}, or incomplete")
    return about


def _tensors(state: TrainingState) -> dict[str, Tensor]:
    tensors = {"rng/cpu": torch.get_rng_state()}
    if state.device.type == "cuda":
        tensors["rng/cuda"] = torch.cuda.get_rng_state(state.device)
    for prefix, part in _parts(state).items():
        tensors |= {f"{prefix}/{name}": value for name, value in part.state_dict().items()}
    return tensors


def _parts(state: TrainingState) -> dict[str, _Part]:
    """Everything of a run that keeps tensors, by its prefix in the file."""
    parts: dict[str, _Part] = {}
    parts |= {f"player/{side}": player for side, player in state.players.items()}
    parts |= {f"regularizer/{part.name}": part for part in state.recipe.regularizers}
    if state.recipe.augment is not None:
        parts["augment"] = state.recipe.augment
    return parts | {f"hook/{part.name}": part for part in state.recipe.hooks}


def _about(state: TrainingState) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "recipe": state.name,
        "config": json.loads(state.config.to_json()),
        "dataset": {"name": state.dataset.name, "fingerprint": state.dataset.fingerprint()},
        "step": state.step,
        "seconds": state.seconds,
        "rollbacks": state.rollbacks,
        "alarms": list(state.alarms),
        "images_seen": state.images_seen,  # also the position in the data stream
        "versions": {"fastgan": __version__, "torch": torch.__version__},
    }


def _check_same_run(state: TrainingState, about: Mapping[str, Any], folder: Path) -> None:
    here = _about(state)
    differences = []
    if about["recipe"] != here["recipe"]:
        differences.append(f"recipe {about['recipe']} -> {here['recipe']}")
    elif about["config"] != here["config"]:
        # A setting that is newer than the checkpoint was at its default.
        saved = _defaults(state.config) | about["config"]
        for key in sorted(set(saved) | set(here["config"])):
            old, new = saved.get(key), here["config"].get(key)
            if old != new and key not in state.config.RESUMABLE:
                differences.append(f"{key} {old} -> {new}")
    if about["dataset"]["fingerprint"] != here["dataset"]["fingerprint"]:
        differences.append(f"dataset {about['dataset']['name']} -> {here['dataset']['name']}")
    if differences:
        raise CheckpointError(
            f"{folder}: cannot resume with other settings: {'; '.join(differences)}. "
            "Start a new run, or resume with the old ones"
        )


def _defaults(config: TrainConfig) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(config)}


def _flush(path: Path) -> None:
    """Have the file or folder on disk before anything refers to it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
