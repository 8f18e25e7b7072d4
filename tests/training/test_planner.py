"""What the planner says of a run, against what the run takes."""

from dataclasses import replace

import pytest
import torch

from fastgan import recipes
from fastgan.errors import ConfigError
from fastgan.training import Step, plan, planner, probe, start_state
from fastgan.training.memory import TrainingMemoryError
from fastgan.training.probe import PhaseCost, measure_phases

STYLEGAN2 = recipes.get("stylegan2")
FACTOR = 1.5  # what the text of a plan on the CPU says of its estimate


def allocated_peak(call):
    """The most bytes that torch's CPU allocator has given out at a time during a call."""
    cpu = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[cpu], profile_memory=True) as profiler:
        call()
    events = profiler.profiler.kineto_results.events()
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
    return peak


@pytest.mark.parametrize("batch", [4, 8])
def test_estimated_memory_is_near_what_is_allocated(tiny_config, unlabelled, batch):
    """Also at twice the images that the probe ran."""
    state = start_state(tiny_config(batch=batch), STYLEGAN2, unlabelled)
    costs, step = measure_phases(state), Step(state)
    assert [cost.part for cost in costs] == ["D", "r1", "G", "pl"]
    for phase, cost in zip(step.phases(), costs, strict=True):
        peak = allocated_peak(lambda phase=phase: step.accumulate(phase))
        assert peak / FACTOR < cost.bytes(batch) < peak * FACTOR, (cost.part, peak)


def test_memory_is_a_line_in_the_images(tiny_config, unlabelled):
    """The fit from 2 and 4 images predicts what is counted for 12."""
    few = measure_phases(start_state(tiny_config(batch=4), STYLEGAN2, unlabelled))
    state = start_state(tiny_config(batch=24), STYLEGAN2, unlabelled)
    step = Step(state)
    for phase, cost in zip(step.phases(), few, strict=True):
        _, counted = probe._run(step, phase, round(12 * cost.share))
        assert cost.bytes(12) == pytest.approx(counted, rel=0.05), cost.part
        assert cost.per_image > 0


def test_plan_adds_up(tiny_config, unlabelled):
    config = tiny_config(batch=8, total_kimg=2.0)
    found = plan(config, STYLEGAN2, unlabelled, memory=1 << 40, devices=2)
    held = {name: size for name, size in found.held.items() if not name.startswith("Python")}
    state = start_state(config, STYLEGAN2, unlabelled)
    parameters = [p for net in state.nets.values() for p in net.parameters()]
    size = 4 * sum(p.numel() for p in parameters)
    assert held["gradients"] == size
    assert held["optimiser"] == 2 * size + 4 * len(parameters)  # and a step count each
    assert held["weights"] > size > held["average (EMA)"] > 0
    assert found.peak == sum(found.held.values()) + max(found.phases.values())
    assert (found.fits, found.batch_per_device, found.micro_batch) == (True, 4, 4)
    assert found.accumulation == 1
    assert found.seconds == pytest.approx(2000 / found.images_per_second)
    assert found.phases["pl"] > 0
    assert "steps timed" in found.timing
    again = plan(config, STYLEGAN2, unlabelled, memory=1 << 40, probe_seconds=0)
    assert "scaled" in again.timing
    assert again.images_per_second > 0


def cost(fixed, per_image):
    return PhaseCost("D", 1.0, fixed, per_image, 0.1, 1)


def test_micro_batch_is_halved_until_it_fits(tiny_config, unlabelled):
    state = start_state(tiny_config(batch=20, device="cpu"), STYLEGAN2, unlabelled)
    room = 1000 * (1 - planner.RESERVE["cpu"])  # 750
    for per_image, expected in ((10, (20, True)), (50, (10, True)), (100, (5, True))):
        costs = [cost(0, 1), cost(50, per_image)]
        assert planner._largest_that_fits(state, costs, 20, 100, 1000) == expected
        assert 100 + 50 + per_image * expected[0] <= room
    assert planner._largest_that_fits(state, [cost(50, 900)], 20, 100, 1000) == (1, False)
    assert planner._largest_that_fits(state, [cost(50, 900)], 20, 100, None) == (20, True)
    state.config = replace(state.config, pack=5)
    assert planner._largest_that_fits(state, [cost(50, 100)], 20, 100, 1000) == (5, True)
    assert planner._largest_that_fits(state, [cost(50, 200)], 20, 100, 1000) == (5, False)


def test_plan_says_what_is_wrong(tiny_config, unlabelled, monkeypatch):
    with pytest.raises(ConfigError, match="devices: expected 1 to batch 4, got 5"):
        plan(tiny_config(), STYLEGAN2, unlabelled, devices=5)

    def fail(state):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(planner, "measure_phases", fail)
    with pytest.raises(TrainingMemoryError, match="not even a few at a time"):
        plan(tiny_config(), STYLEGAN2, unlabelled)


def test_machine_memory_is_known_on_linux():
    available, resident = probe.available_bytes(torch.device("cpu")), probe.resident_bytes()
    assert available is None or 2**20 < resident < available
