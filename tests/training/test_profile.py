"""The profile of a run: its table, its trace, and that training does not notice it."""

import io
import json
import time

import pytest
import torch
from rich.console import Console

from fastgan import recipes
from fastgan.cli import main
from fastgan.errors import ConfigError
from fastgan.training import Profile, train
from fastgan.training.profile import Recorder, Visit, summarize
from fastgan.training.spans import unwatched
from tests.cli.conftest import TINY
from tests.training.runs import assert_same_run, run_steps


def profiled(config, recipe, dataset, folder, **options):
    """Train under a profile; return the state, the profile and what it printed."""
    console = Console(file=io.StringIO(), width=100)
    profile = Profile(folder, console=console, **options)
    state = train(config, recipes.get(recipe), dataset, folder, hooks=(), profile=profile)
    return state, profile, console.file.getvalue()


@pytest.fixture
def run(tiny_config, unlabelled, tmp_path):
    """A tiny StyleGAN2 with R1 every 4 and path length every 2 steps, and 5 profiled steps."""
    config = tiny_config(total_kimg=1.0, r1_every=4)
    return config, *profiled(config, "stylegan2", unlabelled, tmp_path, steps=5, warmup=1)


def test_the_table_has_every_part_and_adds_up(run):
    _, state, profile, printed = run
    report = profile.report
    rows = {row.part: row for row in report.rows}
    parts = ["data", "D", "G", "r1", "pl", "optimiser", "EMA", "logging", "other"]
    assert list(rows) == parts
    assert [rows[name].per_step for name in ("D", "G", "r1", "pl")] == [1, 1, 1 / 4, 1 / 2]
    assert rows["optimiser"].per_step == 2.75
    assert sum(row.share for row in report.rows) == pytest.approx(1)
    assert sum(row.amortised for row in report.rows) == pytest.approx(report.seconds)
    assert report.images_per_second == pytest.approx(4 / report.seconds)
    assert all(row.seconds > 0 for row in report.rows)
    assert (state.step, state.stopped) == (6, "5 steps profiled")
    assert state.span is unwatched
    assert all(f" {part} " in printed for part in parts)
    assert str(report.trace) in printed.replace("\n", "")


def test_the_trace_has_the_parts_and_the_operators_inside(run):
    _, _, profile, _ = run
    assert profile.report.traced_steps == (4, 5)  # both penalties are due at step 4
    trace = json.loads(profile.report.trace.read_text())
    spans = [event for event in trace["traceEvents"] if event.get("ph") == "X"]
    named = {}
    for event in spans:
        named.setdefault(event["name"], []).append(event)
    for part, count in {"step": 2, "D": 2, "G": 2, "r1": 1, "pl": 1, "optimiser": 12}.items():
        assert len([e for e in named[f"fastgan: {part}"] if e["cat"] == "user_annotation"]) == count
    (penalty,) = named["fastgan: r1"]
    start, end = penalty["ts"], penalty["ts"] + penalty["dur"]
    inside = {e["name"] for e in spans if start <= e["ts"] and e["ts"] + e["dur"] <= end}
    assert any(name.startswith("aten::") for name in inside)
    assert not list(profile.out_dir.glob(".trace*"))


def test_the_run_is_the_same_without_a_profile(run, unlabelled):
    config, state, _, _ = run
    rng = torch.get_rng_state()
    plain, _ = run_steps(config, "stylegan2", unlabelled, 6)
    torch.set_rng_state(rng)  # of the profiled run; the plain one starts from its seed, too
    assert_same_run(state, plain)


def test_without_a_number_every_penalty_comes_up(tiny_config, unlabelled, tmp_path):
    config = tiny_config(total_kimg=1.0, r1_every=9, pl_weight=0.0)
    state, profile, _ = profiled(config, "stylegan2", unlabelled, tmp_path)
    assert (profile.report.steps, state.step) == (9, 11)
    assert {row.part: row.seconds is None for row in profile.report.rows}["r1"] is False


def test_a_penalty_that_was_not_due_is_named(tiny_config, unlabelled, tmp_path):
    config = tiny_config(total_kimg=1.0, r1_every=16)
    _, profile, printed = profiled(config, "stylegan2", unlabelled, tmp_path, steps=2)
    row = next(row for row in profile.report.rows if row.part == "r1")
    assert (row.seconds, row.amortised) == (None, 0.0)
    assert "not due" in printed
    assert "without r1" in printed


def test_a_penalty_in_the_main_update_belongs_to_d(vanilla_config, ring, tmp_path):
    config = vanilla_config(total_kimg=10.0)
    _, profile, _ = profiled(config, "vanilla", ring, tmp_path, steps=3)
    parts = [row.part for row in profile.report.rows]
    assert parts == ["data", "D", "G", "optimiser", "EMA", "logging", "other"]


def test_a_run_that_ends_early_reports_what_it_has(vanilla_config, ring, tmp_path):
    state, profile, _ = profiled(vanilla_config(), "vanilla", ring, tmp_path, steps=100)
    assert (state.step, state.stopped, profile.report.steps) == (10, None, 8)
    _, profile, printed = profiled(vanilla_config(), "vanilla", ring, tmp_path / "short", warmup=10)
    assert profile.report is None
    assert "warm-up" in printed


def test_seconds_of_a_part_leave_out_the_parts_inside():
    recorder = Recorder()
    with recorder.span("step"), recorder.span("D"):
        with recorder.span("data"):
            time.sleep(0.03)
        time.sleep(0.01)
    phase, step = recorder.visits
    assert (phase.phase, step.phase) == ("D", "step")
    assert phase.seconds["data"] >= 0.03
    assert 0.01 <= phase.seconds["D"] < 0.03
    assert step.seconds["step"] < 0.01


def test_penalties_are_spread_and_traced_visits_count_only_alone():
    visits = [
        Visit("D", False, {"D": 1.0, "data": 0.5}),
        Visit("D", True, {"D": 9.0, "data": 9.0}),
        Visit("r1", True, {"r1": 4.0, "data": 0.5}),
    ]
    rows = {row.part: row for row in summarize(visits, 2, {"r1": 16})}
    assert (rows["D"].seconds, rows["D"].per_step) == (1.0, 1.0)
    assert (rows["r1"].seconds, rows["r1"].amortised) == (4.0, 0.25)
    assert rows["data"].amortised == pytest.approx(0.5 + 0.5 / 16)
    assert rows["data"].seconds == pytest.approx(0.5)


def test_wrong_numbers_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="profile steps: expected a number at least 1, got 0"):
        Profile(tmp_path, 0)


def test_the_command_profiles_and_leaves_the_folder_to_a_run(tmp_path, capsys):
    out = str(tmp_path / "run")
    arguments = ["train", "--data", "shipped", "--resolution", "16", "--max-images", "8", *TINY]
    assert main([*arguments, "--out", out, "--profile", "--profile-steps", "3"]) == 0
    printed = capsys.readouterr().out
    assert "3 steps profiled" in printed
    assert "optimiser" in printed
    assert "trace.json" in printed
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["trace.json"]
    assert main([*arguments, "--out", out, "--total-kimg", "0.024"]) == 0
    assert "finished" in capsys.readouterr().out
