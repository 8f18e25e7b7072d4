"""What the guard does about an alarm: a line, a roll-back, or the end of the run."""

import json

import pytest
import torch

from fastgan import recipes
from fastgan.data import ArrayDataset
from fastgan.training import Hook, TrainingDivergedError, guard, start_state, train
from fastgan.training.alarms import FAKE, GRADIENT, REAL
from fastgan.training.checkpoint import (
    checkpoints,
    find_checkpoint,
    last_good_checkpoint,
    load_checkpoint,
    read_about,
    save_checkpoint,
)
from fastgan.training.guard import Guard
from fastgan.training.report import Checkpoints, Metrics, Summary, default_hooks
from tests.training.runs import assert_same_run, everything, run_steps

VANILLA = recipes.get("vanilla")


class Poison(Hook):
    """Ruins a weight of D after some step, so many times."""

    def __init__(self, step, times=1):
        self.step, self.times = step, times
        self.draws = []

    def on_step(self, state, means):
        self.draws.append((state.step, float(state.draws("g", 4).normal("z").sum())))
        if state.step == self.step and self.times > 0:
            self.times -= 1
            state.players["d"].parameters[0].data[0, 0] = float("nan")

    def on_rollback(self, state):
        self.draws.append((state.step, "back"))


def poisoned_run(config, ring, folder, poison):
    hooks = [poison, *default_hooks(config, folder)]
    return train(config, VANILLA, ring, folder, hooks=hooks)


@pytest.fixture
def config(vanilla_config):
    """Ten steps; a checkpoint every second one, a line of metrics at each."""
    return vanilla_config(log_kimg=0.032, checkpoint_kimg=0.064, sample_kimg=0, tensorboard=False)


def test_a_poisoned_run_goes_back_and_finishes(config, ring, tmp_path, capsys):
    poison = Poison(5)
    state = poisoned_run(config, ring, tmp_path, poison)
    assert (state.step, state.images_seen, state.rollbacks, state.stopped) == (10, 320, 1, None)
    assert all(bool(value.isfinite().all()) for value in everything(state).values())
    assert state.alarms == ()
    said = capsys.readouterr().err
    assert "guard: NaN: d_" not in said  # accuracies of NaN logits are 0
    assert "guard: NaN: loss_d" in said
    assert "at 0.2 kimg. Try a lower learning rate" in said
    assert "back from step 6 to " in said
    steps = [step for step, _ in poison.draws]
    assert steps == [1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9, 10]  # step 6 is seen only after the way back
    before, after = (dict(part)[5] for part in (poison.draws[:5], poison.draws[6:]))
    assert before != after
    found = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in found] == list(range(1, 11))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["rollbacks"], summary["alarms"]) == (1, [])


def test_going_back_restores_the_checkpoint_exactly(vanilla_config, ring, tmp_path):
    config = vanilla_config(checkpoint_kimg=0.064)
    train(config, VANILLA, ring, tmp_path, hooks=[Checkpoints(tmp_path, kimg=0.064)])
    path = checkpoints(tmp_path)[0]
    assert path.name == "step-000000008"
    state, _ = run_steps(config, "vanilla", ring, 9)
    ours = Guard(tmp_path)
    ours.on_start(state)
    ours.on_step(state, {"loss_d": torch.tensor(float("nan"))})
    assert not ours.must_go_back  # numbers are read some steps later
    ours.on_step(state, {"loss_d": torch.tensor(1.0)})
    for _ in range(guard.READ_STEPS):
        if not ours.must_go_back:
            ours.on_step(state, {})
    assert ours.must_go_back
    ours.go_back(state)
    other_numbers = torch.get_rng_state()
    loaded = start_state(config, VANILLA, ring)
    load_checkpoint(loaded, path)
    assert (state.step, state.images_seen, state.rollbacks) == (8, 256, 1)
    assert_same_run(state, loaded)
    assert not torch.equal(other_numbers, torch.get_rng_state())
    assert not torch.equal(state.draws("g", 4).normal("z"), loaded.draws("g", 4).normal("z"))
    assert torch.equal(state.sample(4), loaded.sample(4))  # grids stay comparable


def test_a_run_that_fails_again_and_again_ends_with_the_error(config, ring, tmp_path):
    with pytest.raises(TrainingDivergedError, match=r"taken back 2 times already.*--guard warn"):
        poisoned_run(config, ring, tmp_path, Poison(5, times=9))
    # What is left is good: a poisoned weight was never saved as such.
    assert read_about(find_checkpoint(tmp_path))["step"] == 4


def test_a_checkpoint_with_a_nan_is_not_good(config, ring, tmp_path):
    """The weight is ruined after the guard looked and before the checkpoint is written."""
    state = poisoned_run(config, ring, tmp_path, Poison(6))
    assert (state.step, state.rollbacks) == (10, 1)


@pytest.mark.parametrize(
    ("mode", "message"),
    [("off", "loss_d"), ("warn", "loss_d"), ("rollback", "no good checkpoint to go back to")],
)
def test_a_nan_ends_the_run_where_there_is_no_way_back(config, ring, tmp_path, mode, message):
    config = config.from_json(config.to_json().replace('"rollback"', f'"{mode}"'))
    poison = Poison(1 if mode == "rollback" else 5)
    with pytest.raises(TrainingDivergedError, match=rf"diverged: guard: NaN: .*{message}"):
        poisoned_run(config, ring, tmp_path, poison)
    assert (mode == "rollback") == (checkpoints(tmp_path) == [])


def test_a_resumed_run_keeps_its_draws_and_its_count(config, ring, tmp_path):
    unbroken = poisoned_run(config, ring, tmp_path / "a", Poison(5))
    shorter = config.from_json(config.to_json().replace('"total_kimg": 0.32', '"total_kimg": 0.2'))
    poisoned_run(shorter, ring, tmp_path / "b", Poison(5))
    resumed = train(config, VANILLA, ring, tmp_path / "b", resume=tmp_path / "b", hooks=())
    assert resumed.rollbacks == 1
    weights = [run.players["g"].parameters[0] for run in (unbroken, resumed)]
    assert torch.equal(*weights)


def test_a_resumed_run_may_return_to_where_it_started(config, ring, tmp_path):
    train(config, VANILLA, ring, tmp_path / "a", hooks=[Checkpoints(tmp_path / "a", kimg=0.064)])
    longer = config.from_json(config.to_json().replace('"total_kimg": 0.32', '"total_kimg": 0.4'))
    state = train(longer, VANILLA, ring, tmp_path / "b", resume=tmp_path / "a", hooks=[Poison(11)])
    assert (state.rollbacks, state.step) == (1, 13)
    assert len(checkpoints(tmp_path / "a")) == 2


def alarmed_state(vanilla_config, ring, **changes):
    return start_state(vanilla_config(**changes), VANILLA, ring)


def test_damage_and_advice_are_said_once_and_mark_checkpoints(
    vanilla_config, ring, tmp_path, capsys
):
    state = alarmed_state(vanilla_config, ring, guard="warn", total_kimg=100.0)
    ours = Guard(tmp_path)
    ours.on_start(state)
    for step in range(48):
        state.step, state.images_seen = step, 32 * step
        ours.on_step(state, {GRADIENT: torch.tensor(0.0)})
    assert state.alarms == ("vanishing generator gradient",)
    assert capsys.readouterr().err.count("vanishing generator gradient: |grad G| below 1e-06") == 1
    assert not ours.must_go_back
    Checkpoints(tmp_path, kimg=1.0).on_end(state)
    assert read_about(find_checkpoint(tmp_path))["alarms"] == ["vanishing generator gradient"]


def test_the_newest_good_checkpoint_outlives_bad_ones(vanilla_config, ring, tmp_path):
    state = alarmed_state(vanilla_config, ring)
    bad = ("exploding loss",)
    for step, alarms in enumerate([(), (), bad, bad, bad]):
        state.step, state.alarms = step, alarms
        save_checkpoint(state, tmp_path)
    assert [read_about(path)["step"] for path in checkpoints(tmp_path)] == [1, 3, 4]
    assert last_good_checkpoint(tmp_path, 4) == checkpoints(tmp_path)[0]
    assert last_good_checkpoint(tmp_path, 0) is None


def test_a_too_strong_d_does_not_make_checkpoints_bad(vanilla_config, ring, tmp_path, capsys):
    """With few images D stays that strong: one NaN would else take back most of the run."""
    state = alarmed_state(vanilla_config, ring)
    ours = Guard(tmp_path)
    ours.on_start(state)
    values = {REAL: torch.tensor(0.99), FAKE: torch.tensor(0.99)}
    for step in range(1100):
        state.step = step  # no images, so that diversity is not measured
        ours.on_step(state, values)
    assert (state.alarms, state.remarks) == ((), ("too strong D",))
    assert "too strong D" in capsys.readouterr().err
    save_checkpoint(state, tmp_path)
    assert last_good_checkpoint(tmp_path, state.step) is not None
    Summary(tmp_path, Metrics(1.0, [])).on_end(state)
    assert json.loads((tmp_path / "summary.json").read_text())["alarms"] == ["too strong D"]


def test_diversity_of_a_collapsed_generator_is_low(vanilla_config, ring, tmp_path):
    state = alarmed_state(vanilla_config, ring)
    ours = Guard(tmp_path)
    fresh = ours._measure_diversity(state)
    state.players["g"].nets["G"].main[0].weight.data.zero_()
    assert fresh > 0.005
    assert ours._measure_diversity(state) < 1e-6
    same = ArrayDataset(torch.ones(5, 2), name="ones")
    state = start_state(state.config, VANILLA, same)
    assert Guard(tmp_path)._measure_diversity(state) is None


def test_large_images_are_compared_pooled():
    images = torch.rand(2, 3, 96, 200)
    assert guard._pooled(images).shape == (2, 3, 64, 64)
    assert guard._pooled(images[..., :64, :64]).shape == (2, 3, 64, 64)
