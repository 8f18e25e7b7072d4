"""Out of memory in an update: the same update again with half the micro-batch, and no trace."""

from dataclasses import replace

import pytest
import torch

from fastgan import recipes
from fastgan.errors import ConfigError
from fastgan.training import Step, start_state
from fastgan.training import memory as module
from fastgan.training.memory import (
    TrainingMemoryError,
    images_per_pass,
    is_out_of_memory,
    smaller_pass,
)
from tests.training.runs import assert_same_run

CPU_SAYS = (
    "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: "
    "you tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)"
)


class Scarce(Step):
    """A step on a machine whose memory holds `room` images of a phase, from some step on.

    The failure comes in the second forward pass where there is one, after the first pass has moved
    buffers, used torch's generator and left gradients.
    """

    error = RuntimeError(CPU_SAYS)
    room, part, first_step = 2, "D", 0

    def loss(self, phase, ctx):
        loss = super().loss(phase, ctx)
        torch.rand(1)  # a network with dropout does so
        too_much = self.state.step >= self.first_step and images_per_pass(self.state) > self.room
        if too_much and phase.part == self.part:
            if ctx.draws.start == 0 and len(ctx.draws) < phase.batch:
                return loss
            loss.backward(inputs=self.state.players[phase.side].parameters)
            raise self.error
        return loss


class Chosen(Scarce):
    """What Scarce should come to: a micro-batch that is set before that phase begins."""

    def accumulate(self, phase):
        if self.state.step >= self.first_step and phase.part == self.part:
            self.state.config = replace(self.state.config, micro_batch=self.room)
        return super().accumulate(phase)


def run(step_type, config, recipe, dataset, steps, **limits):
    state = start_state(config, recipes.get(recipe), dataset)
    step = step_type(state)
    vars(step).update(limits)
    return state, [step() for _ in range(steps)]


@pytest.mark.parametrize(("part", "micro_batch"), [("D", None), ("r1", 3), ("G", 3), ("pl", None)])
def test_the_failed_attempt_leaves_no_trace(tiny_config, pictures, part, micro_batch, capsys):
    """Bit for bit what a run is that knew beforehand, in StyleGAN2 with both penalties."""
    config = tiny_config(micro_batch=micro_batch)
    limits = {"part": part, "room": 1, "first_step": 2}
    state, means = run(Scarce, config, "stylegan2", pictures, 3, **limits)
    said = capsys.readouterr().err
    expected, others = run(Chosen, config, "stylegan2", pictures, 3, **limits)
    assert f"out of memory in {part} at step 2: micro_batch" in said
    assert said.count("\n") == (2 if micro_batch is None else 1)
    assert state.config == expected.config == replace(config, micro_batch=1)
    assert_same_run(state, expected)
    for one, two in zip(means, others, strict=True):
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_running_statistics_are_restored(unlabelled, spectral_norm):
    """Batch norm's statistics and spectral norm's u move in the forward pass that fails."""
    base = recipes.preset("dcgan", "dcgan-64")
    config = replace(base, batch=4, channels=4, z_dim=8, spectral_norm=spectral_norm, seed=3)
    for part in ("D", "G"):
        limits = {"part": part, "first_step": 0 if part == "D" else 1}
        state, _ = run(Scarce, config, "dcgan", unlabelled, 2, **limits)
        expected, _ = run(Chosen, config, "dcgan", unlabelled, 2, **limits)
        assert state.config.micro_batch == 2
        assert_same_run(state, expected)


def test_from_the_first_update_on_it_is_the_run_with_small_micro_batches(tiny_config, pictures):
    config = tiny_config(mbstd_group=1)
    state, _ = run(Scarce, config, "stylegan2", pictures, 2)
    small, _ = run(Step, replace(config, micro_batch=2), "stylegan2", pictures, 2)
    assert_same_run(state, small)


def test_at_one_image_the_error_says_what_to_do(tiny_config, pictures):
    with pytest.raises(TrainingMemoryError, match=r"in G with micro_batch 1.*fastgan plan"):
        run(Scarce, tiny_config(), "stylegan2", pictures, 1, part="G", room=0)
    with pytest.raises(TrainingMemoryError, match=r"micro_batch 2.*multiple of pack 2"):
        run(Scarce, tiny_config(pack=2), "stylegan2", pictures, 1, room=0)


def test_other_errors_pass(tiny_config, pictures):
    with pytest.raises(RuntimeError, match="shapes"):
        run(Scarce, tiny_config(), "stylegan2", pictures, 1, error=RuntimeError("shapes differ"))


def test_what_allocators_say_is_known():
    for error in (torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError()):
        assert is_out_of_memory(error)
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 55, dtype=torch.uint8)
    assert is_out_of_memory(refused.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("not enough memory"))


def test_a_pass_shrinks_to_what_the_recipe_takes(tiny_config):
    config = tiny_config(batch=12, mbstd_group=1, pack=4)
    assert smaller_pass(config, 12) == 4  # 6 is no multiple of pack
    with pytest.raises(ConfigError, match="multiple of pack 4"):
        smaller_pass(config, 4)


def test_all_processes_halve_when_one_runs_out(tiny_config, pictures, monkeypatch, capsys):
    """This process is fine; the other one says, once, that it is not."""
    answers = iter([True, False, False, False])
    monkeypatch.setattr(module.distributed, "any_process", lambda flag: next(answers, flag))
    state = start_state(tiny_config(), recipes.get("stylegan2"), pictures)
    Step(state).update(next(Step(state).phases()))
    assert state.config.micro_batch == 2
    assert "micro_batch 4 -> 2" in capsys.readouterr().err
