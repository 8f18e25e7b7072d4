"""What one step does: which updates, with which gradients, however it is divided."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fastgan import recipes
from fastgan.data import ArrayDataset
from fastgan.errors import ConfigError
from fastgan.networks import MLPDiscriminator, MLPGenerator
from fastgan.training import (
    Augmentation,
    Conditioning,
    Edge,
    Generation,
    NonSaturating,
    Player,
    Regularizer,
    Sampler,
    Step,
    TrainingRecipe,
    adam,
    start_state,
    train,
)
from tests.training.runs import run_steps

F64 = {"precision": "float64"}


def gradients_of_every_phase(config, recipe, dataset):
    """Gradients of each update of one step, by phase and parameter; weights stay as they are."""
    state = start_state(config, recipes.get(recipe), dataset)
    step, found = Step(state), {}
    for player in state.players.values():
        player.optimizer.step = lambda: None
    for phase in step.phases():
        step.update(phase)
        for name, parameter in state.players[phase.side].named_parameters.items():
            if parameter.grad is not None:
                found[phase.name, name] = parameter.grad.clone()
    return found


@pytest.mark.parametrize("micro_batch", [2, 3])
def test_micro_batches_give_the_gradient_of_the_batch(tiny_config, pictures, micro_batch):
    """Also where the last micro-batch is smaller; statistics over images are turned off."""
    config = tiny_config(**F64, mbstd_group=1)
    whole = gradients_of_every_phase(config, "stylegan2", pictures)
    divided = gradients_of_every_phase(
        replace(config, micro_batch=micro_batch), "stylegan2", pictures
    )
    assert {phase for phase, _ in whole} == {"d0", "d_r1", "g", "g_pl"}
    assert whole.keys() == divided.keys()
    for key, gradient in whole.items():
        scale = max(1.0, gradient.abs().max().item())
        assert (gradient - divided[key]).abs().max().item() <= 1e-10 * scale, key
    assert max(gradient.abs().max().item() for gradient in whole.values()) > 1e-3


def test_micro_batches_give_the_same_means_and_averages(tiny_config, pictures):
    config = tiny_config(**F64, mbstd_group=1)
    runs = [
        run_steps(replace(config, micro_batch=size), "stylegan2", pictures, 3) for size in (None, 1)
    ]
    (first, means), (second, other_means) = runs
    for one, two in zip(means, other_means, strict=True):
        assert one.keys() == two.keys()
        for name, mean in one.items():
            assert torch.allclose(mean, two[name], rtol=1e-9, atol=1e-9), name
    w_avg = [state.players["g"].nets["G"].mapping.w_avg for state in (first, second)]
    lengths = [state.recipe.regularizers[1].mean_length for state in (first, second)]
    assert torch.allclose(*w_avg, rtol=1e-9, atol=1e-12)
    assert w_avg[0].abs().max() > 0
    assert torch.allclose(*lengths, rtol=1e-9)


def test_lazy_updates_come_when_due_and_are_scaled(tiny_config, unlabelled):
    state = start_state(tiny_config(r1_every=4, pl_every=2), recipes.get("stylegan2"), unlabelled)
    step, seen = Step(state), []
    for _ in range(5):
        seen.append([phase.name for phase in step.phases()])
        state.step += 1
    main = ["d0", "g"]
    both = ["d0", "d_r1", "g", "g_pl"]
    assert seen == [both, main, ["d0", "g", "g_pl"], main, both]
    state.step = 0
    _, lazy, _, path = step.phases()
    assert (lazy.is_main, lazy.batch, path.batch) == (False, 4, 2)
    ctx = step.context(lazy, state.draws("d_r1", 4))
    loss = step.loss(lazy, ctx)
    assert loss.item() == pytest.approx(4 * ctx.recorded["r1"].item(), rel=1e-6)
    for side, every in (("d", 4), ("g", 2)):
        assert state.players[side].optimizer.param_groups[0]["lr"] == pytest.approx(
            0.0025 * every / (every + 1)
        )


def test_lazy_r1_equals_its_main_update_on_average(vanilla_config, ring):
    """every = 1 adds the penalty to the main loss, in the same optimiser step."""
    state = start_state(vanilla_config(), recipes.get("vanilla"), ring)
    step = Step(state)
    (main, g) = step.phases()
    assert [reg.name for reg in main.regularizers] == ["r1"]
    ctx = step.context(main, state.draws("d0", 32))
    loss = step.loss(main, ctx)
    assert loss.item() == pytest.approx((ctx.recorded["loss_d"] + ctx.recorded["r1"]).item())
    assert g.regularizers == ()


def test_each_player_moves_only_in_its_own_updates(vanilla_config, ring):
    state = start_state(vanilla_config(), recipes.get("vanilla"), ring)
    step = Step(state)

    def weights():
        return {side: [p.detach().clone() for p in state.players[side].parameters] for side in "dg"}

    before = weights()
    for phase in step.phases():
        step.update(phase)
        after, other = weights(), "g" if phase.side == "d" else "d"
        assert all(map(torch.equal, before[other], after[other]))
        assert not any(map(torch.equal, before[phase.side], after[phase.side]))
        assert all(p.requires_grad for p in state.players[other].parameters)
        before = after


class Pull(Regularizer):
    """Pulls fakes to a place beside the data: needs the reals of an update of G."""

    name, side = "pull", "g"

    def __call__(self, ctx):
        edge = ctx.edges[0]
        return (ctx.fake(edge).mean(0) - ctx.real(edge).mean(0) - 3).square().sum()


def simple_recipe(**changes):
    def build(config, dataset):
        betas = (config.beta1, config.beta2)
        parts = {
            "players": {
                "d": Player({"D": MLPDiscriminator(2, hidden=8, layers=1)}, adam(0.01, betas)),
                "g": Player({"G": MLPGenerator(4, 2, hidden=8, layers=1)}, adam(0.01, betas)),
            },
            "edges": (Edge("G", "D"),),
            "objective": NonSaturating(),
            "sampler": Sampler(4, dataset),
            "generation": Generation(),
            "conditioning": Conditioning(),
        }
        return TrainingRecipe(**{**parts, **changes})

    return SimpleNamespace(NAME="toy", Config=None, PRESETS={}, build=build)


def test_critic_updates_see_fresh_reals_and_count_them(vanilla_config, ring):
    recipe = simple_recipe(n_critic=lambda step: 3 if step == 0 else 2, regularizers=(Pull(),))
    state = start_state(vanilla_config(), recipe, ring)
    step = Step(state)
    phases = list(step.phases())
    assert [(phase.name, phase.first_real) for phase in phases] == [
        ("d0", 0),
        ("d1", 32),
        ("d2", 64),
        ("g", 64),
    ]
    step()
    assert (state.step, state.images_seen) == (1, 96)
    step()
    assert (state.step, state.images_seen) == (2, 160)


def test_without_critic_updates_only_penalties_train_g(vanilla_config, ring):
    recipe = simple_recipe(n_critic=0, regularizers=(Pull(),))
    state, means = run_steps(vanilla_config(), recipe, ring, 60)
    assert all(set(mean) == {"pull"} for mean in means)
    assert means[-1]["pull"] < 0.1 * means[0]["pull"]
    assert state.images_seen == 60 * 32


def test_schedule_sets_the_rate_from_the_progress(vanilla_config, ring):
    optimizer = adam(0.01, (0.0, 0.9))
    players = {
        "d": Player({"D": MLPDiscriminator(2)}, optimizer, schedule=lambda t: 1 - t),
        "g": Player({"G": MLPGenerator(4, 2)}, optimizer),
    }
    state, _ = run_steps(vanilla_config(), simple_recipe(players=players), ring, 6)
    rates = [state.players[side].optimizer.param_groups[0]["lr"] for side in "dg"]
    assert rates == pytest.approx([0.01 * 0.5, 0.01])  # the sixth of ten steps starts at 5/10


def test_beta2_follows_its_schedule_with_the_lazy_correction(tiny_config, unlabelled):
    config = tiny_config(beta2=0.9, burn_in_kimg=0.016, burn_in_beta2=0.99, burn_in_lr=0.5)
    state, _ = run_steps(config, "stylegan2", unlabelled, 3)  # the third starts at 8 of 16 images
    for player in state.players.values():
        (group,) = player.optimizer.param_groups
        correction = 2 / 3  # penalties every 2
        assert group["betas"] == pytest.approx((0.0, 0.945**correction))
        assert group["lr"] == pytest.approx(0.0025 * correction * 0.75)


def test_augmentation_is_applied_to_reals_and_fakes_and_under_r1(vanilla_config, ring):
    seen = []

    class Negative(Augmentation):
        def __call__(self, images, draws):
            seen.append(draws.scope)
            return -3 * images

    plain = start_state(vanilla_config(), recipes.get("vanilla"), ring)
    state = start_state(vanilla_config(), recipes.get("vanilla"), ring)
    state = replace(state, recipe=replace(state.recipe, augment=Negative()))
    state.players["d"].nets["D"].main[0].weight.data.div_(-3)  # D(-3x / -3) is the plain D(x)
    ours, plains = (Step(s).update(next(Step(s).phases())) for s in (state, plain))
    assert seen == ["D/real/", "D/fake/"]
    for name in ("loss_d", "r1"):  # the penalty goes through the augmentation to the real image
        assert torch.allclose(ours[name], plains[name], rtol=1e-4), name


def test_parameters_that_a_penalty_does_not_reach_take_part_in_its_update(tiny_config, unlabelled):
    """Otherwise their number of Adam steps would depend on whether autograd says None or 0."""
    state, _ = run_steps(tiny_config(), "stylegan2", unlabelled, 3)
    for player in state.players.values():
        counts = {int(entry["step"]) for entry in player.optimizer.state.values()}
        assert counts == {5}  # three main updates and two lazy ones
        assert len(player.optimizer.state) == len(player.parameters)


def test_gradients_that_are_not_finite_are_cleaned(vanilla_config, ring):
    state = start_state(vanilla_config(), recipes.get("vanilla"), ring)
    player = state.players["g"]
    parameter = player.named_parameters["G.main.0.weight"]
    before = parameter.detach().clone()
    parameter.grad = torch.zeros_like(parameter)
    parameter.grad[0, :3] = torch.tensor([float("nan"), float("inf"), float("-inf")])
    player.update(0.0)
    assert parameter.grad[0, :4].tolist() == [0.0, 1e5, -1e5, 0.0]
    moved = (parameter - before)[0, :4]
    assert (moved[1] < 0, moved[2] > 0, moved[0] == moved[3] == 0) == (True, True, True)


class Translate(nn.Module):
    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.zeros(2))

    def forward(self, x, c=None):
        return x + self.by


class Cycle(Regularizer):
    """There and back again must be where one started."""

    name, side = "cycle", "g"

    def __call__(self, ctx):
        there, back = ctx.edges
        loss = torch.zeros(())
        for first, second in ((there, back), (back, there)):
            returned = ctx.nets[second.generator](ctx.fake(first))
            loss = loss + (returned - ctx.generator_input(first)).square().mean()
        return loss


def test_two_edges_train_two_generators_on_unpaired_data(vanilla_config):
    """Domain B is domain A moved by (2, -1); both translations are learned, from two games that
    share an optimiser per player and a cycle penalty."""
    generator = torch.Generator().manual_seed(0)
    a = 0.5 * torch.randn(2000, 2, generator=generator)
    b = 0.5 * torch.randn(2000, 2, generator=generator) + torch.tensor([2.0, -1.0])
    dataset = ArrayDataset(torch.cat([a, b], dim=1), name="domains")
    first, second = (lambda x: x[:, :2]), (lambda x: x[:, 2:])
    optimizer = adam(0.01, (0.0, 0.9))
    recipe = simple_recipe(
        players={
            "d": Player({"A": MLPDiscriminator(2), "B": MLPDiscriminator(2)}, optimizer),
            "g": Player({"AB": Translate(), "BA": Translate()}, optimizer),
        },
        edges=(
            Edge("AB", "B", real=second, source=first),
            Edge("BA", "A", real=first, source=second),
        ),
        regularizers=(Cycle(),),
    )
    state, means = run_steps(vanilla_config(total_kimg=6.4), recipe, dataset, 200)
    nets = state.players["g"].nets
    assert torch.allclose(nets["AB"].by, torch.tensor([2.0, -1.0]), atol=0.3)
    assert torch.allclose(nets["BA"].by, torch.tensor([-2.0, 1.0]), atol=0.3)
    assert means[0]["loss_d"] == pytest.approx(2 * 1.386, abs=0.3)  # summed over the games
    assert state.sample(16).shape == (16, 2)


class LookAhead(Step):
    """G plays against a discriminator that is one gradient step further, as unrolled GANs do."""

    def context(self, phase, draws):
        ctx = super().context(phase, draws)
        if phase.side == "g":
            ctx.nets = {**ctx.nets, "D": self.ahead(ctx)}
        return ctx

    def ahead(self, ctx):
        d = ctx.nets["D"]
        names, values = zip(*d.named_parameters(), strict=True)
        play = super().context(next(self.phases()), ctx.draws)
        gradients = torch.autograd.grad(self.d_game(play), values)
        moved = [value - 0.5 * gradient for value, gradient in zip(values, gradients, strict=True)]
        weights = dict(zip(names, moved, strict=True))
        return lambda x, c=None: torch.func.functional_call(d, weights, (x, c))


def test_recipe_may_change_the_step(vanilla_config, ring, tmp_path):
    config = vanilla_config(total_kimg=0.032)
    runs = [
        train(config, simple_recipe(step_type=step_type), ring, tmp_path, hooks=())
        for step_type in (None, Step, LookAhead)
    ]
    plain, same, ahead = (run.players["g"].parameters[0] for run in runs)
    assert torch.equal(plain, same)
    assert not torch.equal(plain, ahead)
    d_weights = [run.players["d"].parameters[0] for run in runs]
    assert torch.equal(d_weights[0], d_weights[2])  # D itself took its one step only


def test_recipe_errors_name_what_is_wrong(vanilla_config, ring):
    with pytest.raises(ConfigError, match="no network 'E', it has D"):
        simple_recipe(edges=(Edge("G", "E"),)).build(vanilla_config(), ring)
    with pytest.raises(ConfigError, match="same name: pull, pull"):
        simple_recipe(regularizers=(Pull(), Pull())).build(vanilla_config(), ring)


def test_batch_must_serve_every_update(tiny_config, unlabelled):
    with pytest.raises(ConfigError, match="batch: expected at least 2"):
        start_state(tiny_config(batch=1), recipes.get("stylegan2"), unlabelled)


def test_device_that_is_not_there_is_an_error(vanilla_config, ring):
    with pytest.raises(ConfigError, match="device: cannot use 'abacus'"):
        start_state(vanilla_config(device="abacus"), recipes.get("vanilla"), ring)
