"""What a run leaves behind: metrics, samples, checkpoints, the model file and a summary.

Everything here watches; training is the same without it. The display is in display.py.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from fastgan._version import __version__
from fastgan.config import TrainConfig
from fastgan.files import write_json
from fastgan.synthesis.images import Metadata, make_grid, save_png, to_uint8
from fastgan.synthesis.model_file import ModelInfo, save_model
from fastgan.training.checkpoint import save_checkpoint, take_folder
from fastgan.training.display import Display
from fastgan.training.hooks import Averages, Every, Hook
from fastgan.training.scatter import extent_of, scatter
from fastgan.training.scores import Scores
from fastgan.training.state import TrainingState
from fastgan.training.writers import JsonLines, TensorBoard, Writer

METRICS, SUMMARY, MODEL, SAMPLES = "metrics.jsonl", "summary.json", "model.safetensors", "samples"


def default_hooks(config: TrainConfig, out_dir: Path) -> tuple[Hook, ...]:
    """Return the hooks of an ordinary run."""
    writers: list[Writer] = [JsonLines(out_dir / METRICS)]
    if config.tensorboard:
        writers.append(TensorBoard(out_dir / "tensorboard"))
    metrics = Metrics(config.log_kimg, writers)
    return (
        *([Scores(config, writers)] if config.metrics_kimg > 0 else []),  # metrics closes writers
        metrics,
        Display(metrics),
        SampleGrids(out_dir / SAMPLES, config.sample_kimg, config.sample_count),
        Checkpoints(out_dir, config.checkpoint_kimg),
        Summary(out_dir, metrics),
    )


def profile_hooks(config: TrainConfig) -> tuple[Hook, ...]:
    """Return the hooks of a run that is only timed: the screen, and no file."""
    metrics = Metrics(config.log_kimg, [])
    return metrics, Display(metrics)


class Metrics(Hook):
    """Every so many images, one line: counters, speed, and means since the line before.

    A line has step, kimg, seconds, images_per_second, and what updates recorded: loss_d, loss_g,
    d_real_accuracy and d_fake_accuracy (fraction of logits with the right sign), one entry per
    regulariser, and so on.

    Args:
        kimg: interval, in thousands of images.
        writers: where lines go.

    Attributes:
        last: the latest value of everything; a lazy regulariser is not in every line.
    """

    name = "metrics"

    def __init__(self, kimg: float, writers: list[Writer]) -> None:
        self.writers = writers
        self.last: dict[str, float] = {}
        self._every, self._averages = Every(kimg), Averages()
        self._since = (0, 0.0)

    def on_start(self, state: TrainingState) -> None:
        self._every.due(state.images_seen)
        self._since = (state.images_seen, state.seconds)
        for writer in self.writers:
            writer.start(state.step, state.images_seen)

    def on_step(self, state: TrainingState, means: Mapping[str, Tensor]) -> None:
        self._averages.add(means)
        if self._every.due(state.images_seen):
            self._write_line(state)

    def on_rollback(self, state: TrainingState) -> None:
        self._averages.read()
        self.on_start(state)

    def on_end(self, state: TrainingState) -> None:
        if state.images_seen > self._since[0]:
            self._write_line(state)
        self.on_error(state)

    def on_error(self, state: TrainingState) -> None:
        for writer in self.writers:
            writer.close()

    def _write_line(self, state: TrainingState) -> None:
        means, seconds = self._averages.read(), state.seconds
        speed = (state.images_seen - self._since[0]) / max(seconds - self._since[1], 1e-9)
        self._since = (state.images_seen, seconds)
        line = {
            "step": state.step,
            "kimg": state.images_seen / 1000,
            "seconds": round(seconds, 3),
            "images_per_second": round(speed, 2),
            **means,
        }
        self.last = {**self.last, **line}
        for writer in self.writers:
            writer.write(line)


class SampleGrids(Hook):
    """Grids of fakes of the averaged generator, from the same latents every time.

    Args:
        folder: where `<images seen>.png` go.
        kimg: interval, in thousands of images; 0 writes none.
        count: fakes per grid.
    """

    name = "samples"

    def __init__(self, folder: Path, kimg: float, count: int) -> None:
        self.folder, self.count = folder, count
        self._every = Every(kimg)

    def on_start(self, state: TrainingState) -> None:
        self._every.due(state.images_seen)
        if self._every.kimg > 0 and state.images_seen == 0:
            self._write(state)

    def on_step(self, state: TrainingState, means: Mapping[str, Tensor]) -> None:
        if self._every.due(state.images_seen):
            self._write(state)

    def on_end(self, state: TrainingState) -> None:
        if self._every.kimg > 0:
            self._write(state)

    def _write(self, state: TrainingState) -> None:
        fakes = state.sample(self.count)
        is_images = fakes.ndim == 4
        picture = (
            make_grid(to_uint8(fakes)) if is_images else scatter(fakes, extent_of(state.dataset))
        )
        seen = state.images_seen
        about: Metadata = {"synthetic": True, "recipe": state.name, "images_seen": seen}
        save_png(self.folder / f"{seen:09d}.png", picture, about)


class Checkpoints(Hook):
    """Checkpoints and the model file, every so many images and at the end.

    Args:
        out_dir: folder of the run.
        kimg: interval, in thousands of images; 0 writes only the model file, at the end.
    """

    name = "checkpoints"

    def __init__(self, out_dir: Path, kimg: float) -> None:
        self.out_dir = out_dir
        self._every = Every(kimg)

    def on_start(self, state: TrainingState) -> None:
        take_folder(state, self.out_dir)
        self._every.due(state.images_seen)

    def on_step(self, state: TrainingState, means: Mapping[str, Tensor]) -> None:
        if self._every.due(state.images_seen):
            save_checkpoint(state, self.out_dir)
            write_model(state, self.out_dir / MODEL)

    def on_end(self, state: TrainingState) -> None:
        if self._every.kimg > 0:
            save_checkpoint(state, self.out_dir)
        write_model(state, self.out_dir / MODEL)


def write_model(state: TrainingState, path: Path) -> None:
    """Write the averaged generator of the first edge, if the recipe says how to rebuild it."""
    spec = state.recipe.generator_spec
    if spec is None:
        return
    info = ModelInfo(
        network=spec,
        recipe=state.name,
        config=json.loads(state.config.to_json()),
        dataset={"name": state.dataset.name, "fingerprint": state.dataset.fingerprint()},
        image_shape=tuple(state.dataset.image_shape),
        c_dim=state.dataset.c_dim,
        images_seen=state.images_seen,
    )
    generator = state.players["g"].sampling_nets[state.recipe.edges[0].generator]
    save_model(path, generator, info)


class Summary(Hook):
    """`summary.json` at the end: what ran, for how long, and the last line of metrics."""

    name = "summary"

    def __init__(self, out_dir: Path, metrics: Metrics) -> None:
        self.out_dir, self.metrics = out_dir, metrics
        self._start = (0, 0.0)

    def on_start(self, state: TrainingState) -> None:
        self._start = (state.images_seen, time.monotonic())

    def on_rollback(self, state: TrainingState) -> None:
        self.on_start(state)  # speed is of the images that count

    def on_end(self, state: TrainingState) -> None:
        images = state.images_seen - self._start[0]
        speed = images / max(time.monotonic() - self._start[1], 1e-9)
        summary = {
            "recipe": state.name,
            "dataset": state.dataset.name,
            "stopped": state.stopped or "reached its length",
            "steps": state.step,
            "kimg": state.images_seen / 1000,
            "rollbacks": state.rollbacks,
            "alarms": [*state.alarms, *state.remarks],
            "seconds": round(state.seconds, 1),
            "images_per_second": round(speed, 2),
            "device": str(state.device),
            "last": self.metrics.last,
            "config": json.loads(state.config.to_json()),
            "versions": {
                "fastgan": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        }
        write_json(self.out_dir / SUMMARY, summary)
