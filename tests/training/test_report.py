"""What a run leaves on disk and on the screen, and how it ends."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from rich.console import Console

from fastgan import recipes
from fastgan.data import ArrayDataset, grid_mixture
from fastgan.synthesis.model_file import load_model
from fastgan.training import Hook, TrainingDivergedError, train
from fastgan.training.display import Display
from fastgan.training.hooks import Every
from fastgan.training.report import Metrics, default_hooks
from fastgan.training.scatter import extent_of, scatter
from fastgan.training.writers import JsonLines, TensorBoard
from tests.training.runs import assert_same_run, run_steps

VANILLA = recipes.get("vanilla")


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_ordinary_run_leaves_its_files(vanilla_config, ring, tmp_path, capsys):
    config = vanilla_config(log_kimg=0.064, sample_kimg=0.16, checkpoint_kimg=0.16, sample_count=5)
    state = train(config, VANILLA, ring, tmp_path)
    found = lines(tmp_path)
    assert [line["step"] for line in found] == [2, 4, 6, 8, 10]
    assert [line["kimg"] for line in found] == pytest.approx([0.064, 0.128, 0.192, 0.256, 0.32])
    keys = {"loss_d", "loss_g", "r1", "d_real_accuracy", "d_fake_accuracy", "images_per_second"}
    assert keys <= found[0].keys()
    assert all(0 <= line["d_real_accuracy"] <= 1 for line in found)

    grids = sorted(path.name for path in (tmp_path / "samples").iterdir())
    assert grids == ["000000000.png", "000000160.png", "000000320.png"]
    assert Image.open(tmp_path / "samples" / grids[0]).text["images_seen"] == "0"
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    assert list((tmp_path / "tensorboard").glob("events*"))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["steps"], summary["stopped"]) == (10, "reached its length")
    assert summary["last"]["step"] == 10

    generator, info = load_model(tmp_path / "model.safetensors")
    z = torch.randn(3, 8)
    assert torch.equal(generator(z), state.players["g"].ema.nets["G"](z))
    assert (info.recipe, info.images_seen, info.config["batch"]) == ("vanilla", 320, 32)
    printed = capsys.readouterr().out
    assert "D right on reals" in printed
    assert "ETA" in printed


def test_metrics_are_means_since_the_line_before(tmp_path):
    metrics, state = Metrics(1.0, [JsonLines(tmp_path / "metrics.jsonl")]), fake_state()
    metrics.on_start(state)
    for value in (1.0, 2.0, 6.0, 10.0):
        state.images_seen += 500
        state.step += 1
        lazy = {"r1": torch.tensor(9.0)} if value == 2.0 else {}
        metrics.on_step(state, {"loss_d": torch.tensor(value), "G/mean_w": torch.ones(3), **lazy})
    first, second = lines(tmp_path)
    assert (first["loss_d"], first["r1"]) == (1.5, 9.0)
    assert second["loss_d"] == 8.0
    assert "r1" not in second
    assert "G/mean_w" not in first
    assert metrics.last["r1"] == 9.0


def fake_state(**changes):
    config = SimpleNamespace(total_images=4000, total_kimg=4.0, max_minutes=None)
    values = {"images_seen": 0, "step": 0, "seconds": 1.0, "config": config, "name": "toy"}
    values |= {"seconds_before": 0.0, "progress": 0.0}
    return SimpleNamespace(**{**values, **changes})


def test_resumed_log_drops_lines_after_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    log = JsonLines(path)
    log.start(2, 64)
    log.write({"step": 3, "again": 1})
    assert lines(tmp_path) == [{"step": 1}, {"step": 2}, {"step": 3, "again": 1}]
    log.start(0, 0)
    assert lines(tmp_path) == []


def test_every_fires_once_per_interval_whatever_the_batch():
    every = Every(0.1)
    every.due(0)
    assert [every.due(n) for n in (64, 128, 192, 256, 300, 310)] == [
        False, True, False, True, True, False,
    ]  # fmt: skip
    resumed = Every(0.1)
    resumed.due(192)
    assert resumed.due(256)
    never = Every(0.0)
    assert [never.due(0), never.due(10**6)] == [False, False]


class Poison(Hook):
    """Ruins a weight at the third step."""

    def on_step(self, state, means):
        if state.step == 3:
            state.players["d"].parameters[0].data[0, 0] = float("nan")


def test_loss_that_is_not_finite_ends_the_run_before_it_is_saved(vanilla_config, ring, tmp_path):
    config = vanilla_config(log_kimg=0.064, checkpoint_kimg=0.064, tensorboard=False)
    hooks = [Poison(), *default_hooks(config, tmp_path)]
    with pytest.raises(TrainingDivergedError, match=r"loss_d.* not finite at 0\.1 kimg"):
        train(config, VANILLA, ring, tmp_path, hooks=hooks)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000002"]


# Signals reach the main thread of a process, which in a worker of pytest-xdist is not ours.
INTERRUPTED = """
import os, signal, torch
from dataclasses import replace
from fastgan import recipes
from fastgan.data import ArrayDataset, ring_mixture
from fastgan.training import Hook, train

class Interrupt(Hook):
    def on_step(self, state, means):
        if state.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
    def on_end(self, state):
        print("ended at", state.step)

config = replace(recipes.preset("vanilla", "vanilla-ring8-r1"), batch=32, total_kimg=0.32)
points = ArrayDataset(ring_mixture().sample(2000, torch.Generator()), name="ring8")
before = signal.getsignal(signal.SIGINT)
state = train(config, recipes.get("vanilla"), points, "run", hooks=[Interrupt()])
print(state.step, state.stopped, signal.getsignal(signal.SIGINT) is before)
"""


def test_interrupt_ends_the_run_between_two_steps(tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], cwd=tmp_path, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-2:] == ["ended at 3", "3 interrupted (SIGINT) True"]


def test_time_limit_ends_the_run(vanilla_config, ring, tmp_path):
    config = vanilla_config(total_kimg=1e6, max_minutes=0.02)
    state = train(config, VANILLA, ring, tmp_path, hooks=[])
    assert state.stopped == "time limit of 0.02 minutes"
    assert state.seconds < 60


def test_samples_do_not_depend_on_the_step_or_disturb_training(vanilla_config, ring):
    quiet, _ = run_steps(vanilla_config(), "vanilla", ring, 4)
    watched, _ = run_steps(vanilla_config(), "vanilla", ring, 4)
    first = watched.sample(7)
    watched.step += 1
    assert torch.equal(first, watched.sample(7))
    watched.step -= 1
    small = replace(watched, config=replace(watched.config, micro_batch=3))
    assert torch.allclose(first, small.sample(7), atol=1e-6)
    assert_same_run(quiet, watched)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_display_shows_speed_losses_and_accuracy(is_terminal):
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=160)
    metrics, state = Metrics(1.0, []), fake_state()
    state.dataset = SimpleNamespace(name="points")
    state.stopped = None
    display = Display(metrics, console)
    display.on_start(state)
    metrics.last = {"images_per_second": 50.0, "loss_d": 1.25, "d_real_accuracy": 0.75}
    state.images_seen = 1000
    display.on_step(state, {})
    display.on_end(state)
    shown = console.file.getvalue()
    for expected in ("img/s 50", "loss D 1.25", "D right on reals 0.75", "reached its length"):
        assert expected in shown
    assert "1.0" in shown
    if not is_terminal:
        assert "ETA 1:00" in shown  # 3,000 images at 50 a second


def test_display_knows_the_time_limit():
    console = Console(file=io.StringIO(), width=160)
    metrics, state = Metrics(1.0, []), fake_state(seconds=110.0, seconds_before=100.0)
    state.config.max_minutes = 0.5
    display = Display(metrics, console)
    display.on_start(state)
    metrics.last = {"images_per_second": 50.0}
    display.on_step(state, {})
    assert "ETA 0:20" in console.file.getvalue()  # 10 of the 30 seconds of this start are over


class Broken(Hook):
    def on_step(self, state, means):
        raise RuntimeError("broken")


def test_an_error_gives_the_terminal_and_the_files_back(vanilla_config, ring, tmp_path):
    console = Console(file=io.StringIO(), force_terminal=True)
    closed = []
    writer = JsonLines(tmp_path / "metrics.jsonl")
    writer.close = lambda: closed.append(True)
    metrics = Metrics(1.0, [writer])
    hooks = [metrics, Display(metrics, console), Broken()]
    with pytest.raises(RuntimeError, match="broken"):
        train(vanilla_config(), VANILLA, ring, tmp_path, hooks=hooks)
    said = console.file.getvalue()
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h") == 1  # the cursor, hidden and shown
    assert closed == [True]


def test_event_files_forget_what_a_rollback_took_back(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = TensorBoard(tmp_path)
    board.start(0, 0)
    for kimg in (1.0, 2.0, 3.0):
        board.write({"step": 1, "kimg": kimg, "loss_d": kimg})
    board.start(1, 1000)
    board.write({"step": 2, "kimg": 2.0, "loss_d": 7.0})
    board.close()
    events = accumulator.EventAccumulator(str(tmp_path)).Reload().Scalars("loss_d")
    assert [(event.step, event.value) for event in events] == [(1000, 1.0), (2000, 7.0)]


def test_pictures_of_points_show_all_modes_and_a_line(tmp_path):
    grid = ArrayDataset(grid_mixture(5).sample(2000, torch.Generator().manual_seed(0)), name="x")
    corners = scatter(torch.tensor([[4.0, 4.0], [-4.0, -4.0]]), extent_of(grid))
    assert (corners < 128).sum() == 2
    line = scatter(torch.tensor([[1.0], [-1.0]]), 2.0)
    assert (line < 128).nonzero()[:, 0].tolist() == [128, 128]


def test_scatter_draws_each_point_where_it_is():
    picture = scatter(torch.tensor([[0.0, 0.0], [2.85, 2.85], [9.0, 0.0]]), size=60)
    dark = (picture[:, :, 0] < 128).nonzero().tolist()
    assert dark == [[1, 58], [30, 30]]  # row, column; what lies outside is left out
