from dataclasses import replace

import pytest
import torch

from fastgan.training.draws import Draws, stable_seed

DRAWS = Draws(seed=3, step=5, phase="d0", batch=10)


def all_draws(draws):
    noise = draws.layer_noise()
    return {
        "normal": draws.normal("z", (4,)),
        "uniform": draws.uniform("alpha", (1, 1)),
        "bernoulli": draws.bernoulli("mixed", 0.5),
        "integers": draws.integers("cut", 1, 9),
        "noise": noise(3, 4, 6),
    }


@pytest.mark.parametrize("world", [2, 3])
def test_draws_of_ranks_interleave_to_the_draw_of_one_process(world):
    whole = all_draws(DRAWS)
    for rank in range(world):
        for name, part in all_draws(replace(DRAWS, rank=rank, world=world)).items():
            assert torch.equal(part, whole[name][rank::world]), name


def test_draws_of_micro_batches_concatenate_to_the_draw_of_the_batch():
    mine = replace(DRAWS, rank=1, world=2)
    pieces = [all_draws(mine.slice(slice(start, start + 2))) for start in (0, 2, 4)]
    for name, whole in all_draws(mine).items():
        assert torch.equal(torch.cat([piece[name] for piece in pieces]), whole), name


def test_draws_slice_of_a_slice_counts_from_its_own_start():
    assert list(DRAWS.slice(slice(2, 8)).slice(slice(1, 3)).positions) == [3, 4]
    assert list(replace(DRAWS, rank=1, world=2).slice(slice(1, 3)).positions) == [3, 5]
    with pytest.raises(ValueError, match="step of 1"):
        DRAWS.slice(slice(0, 4, 2))


@pytest.mark.parametrize("change", [{"seed": 4}, {"step": 6}, {"phase": "g"}, {"scope": "b/"}])
def test_draws_differ_by_seed_step_phase_scope_and_name(change):
    first = DRAWS.normal("z", (4,))
    assert not torch.equal(first, replace(DRAWS, **change).normal("z", (4,)))
    assert not torch.equal(first, DRAWS.normal("y", (4,)))
    assert torch.equal(first, DRAWS.normal("z", (4,)))


def test_draws_scope_keeps_the_edges_of_a_recipe_apart():
    assert DRAWS.scoped("ab").scoped("x").scope == "ab/x/"
    assert not torch.equal(DRAWS.scoped("ab").normal("z"), DRAWS.scoped("ba").normal("z"))


def test_draws_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    all_draws(DRAWS)
    assert torch.equal(before, torch.get_rng_state())


def test_draws_are_the_same_numbers_in_float64():
    double = replace(DRAWS, dtype=torch.float64).normal("z", (4,))
    assert double.dtype == torch.float64
    assert torch.equal(double, DRAWS.normal("z", (4,)).double())


def test_draws_have_the_distribution_they_name():
    many = replace(DRAWS, batch=20000)
    normal, uniform = many.normal("n"), many.uniform("u")
    assert abs(normal.mean()) < 0.03
    assert abs(normal.std() - 1) < 0.03
    assert 0 <= uniform.min() < 0.001
    assert 0.999 < uniform.max() < 1
    assert abs(many.bernoulli("b", 0.9).float().mean() - 0.9) < 0.01
    assert many.integers("i", 1, 4).unique().tolist() == [1, 2, 3]


def test_stable_seed_is_pinned():
    """Another value would make every earlier run irreproducible; hash() would differ by process."""
    assert stable_seed(1, 2, "g", "z") == 9150464419278504275
