"""New runs from trained weights, and layers of D that are not trained."""

from dataclasses import replace

import pytest
import torch

from fastgan import recipes
from fastgan.data import ArrayDataset
from fastgan.errors import CheckpointError, ConfigError
from fastgan.training import Step, start_state, train
from fastgan.training.checkpoint import save_checkpoint
from fastgan.training.report import write_model
from fastgan.training.transfer import initialize_from
from tests.training.runs import assert_same_run, run_steps
from tests.training.test_resume import train_in_two

STYLEGAN2 = recipes.get("stylegan2")


@pytest.fixture(scope="module")
def trained(tiny_config, unlabelled, tmp_path_factory):
    """A run of three steps without labels, and the folder of its checkpoint and its model."""
    state, _ = run_steps(tiny_config(), "stylegan2", unlabelled, 3)
    folder = tmp_path_factory.mktemp("trained")
    save_checkpoint(state, folder / "run")
    write_model(state, folder / "model.safetensors")
    return state, folder


def start(config, dataset, path):
    state = start_state(config, STYLEGAN2, dataset)
    return state, {transfer.net: transfer for transfer in initialize_from(state, path)}


def test_a_checkpoint_gives_all_weights_and_nothing_else(trained, tiny_config, unlabelled):
    source, folder = trained
    fresh = start_state(tiny_config(seed=5), STYLEGAN2, unlabelled)
    numbers = torch.get_rng_state()
    state, transfers = start(tiny_config(seed=5), unlabelled, folder / "run")
    assert {name: t.share for name, t in transfers.items()} == {"G": 1.0, "D": 1.0}
    for side in ("d", "g"):
        ours, theirs = state.players[side].state_dict(), source.players[side].state_dict()
        kept = [name for name in theirs if name.startswith(("net/", "ema/"))]
        assert all(torch.equal(ours[name], theirs[name]) for name in kept)
        assert not any(name.startswith("optimizer/") for name in ours)
    assert (state.step, state.images_seen) == (0, 0)
    assert state.recipe.regularizers[1].mean_length == 0
    assert torch.equal(torch.get_rng_state(), numbers)  # as in a run that loads nothing
    assert torch.equal(
        fresh.draws("d0", 4).normal("z", (3,)), state.draws("d0", 4).normal("z", (3,))
    )


def test_a_model_file_gives_the_generator(trained, tiny_config, unlabelled):
    source, folder = trained
    state, transfers = start(tiny_config(seed=5), unlabelled, folder / "model.safetensors")
    assert (transfers["G"].share, transfers["D"].share) == (1.0, 0.0)
    average = source.players["g"].ema.nets["G"].state_dict()
    player = state.players["g"]
    for net in (player.nets["G"], player.ema.nets["G"]):
        assert all(torch.equal(value, average[name]) for name, value in net.state_dict().items())


def test_labels_may_come_and_go(trained, tiny_config, pictures, unlabelled, tmp_path):
    """Only what sees the label starts new: the first mapping layer, and D's output and mapping."""
    _, folder = trained
    state, transfers = start(tiny_config(seed=5), pictures, folder / "run")
    g, d = transfers["G"], transfers["D"]
    assert g.reshaped == ("mapping.fc0.weight 8x8 -> 8x16",)
    assert g.absent == ("mapping.embed.bias", "mapping.embed.weight")
    assert [name.split(" ")[0] for name in d.reshaped] == ["b4.out.bias", "b4.out.weight"]
    assert all(name.startswith("mapping.") for name in d.absent)
    assert g.unused == d.unused == ()
    assert "starts new, other shape: mapping.fc0.weight 8x8 -> 8x16" in str(g)
    means = Step(state)()
    assert all(value.isfinite().all() for value in means.values())

    save_checkpoint(state, tmp_path / "labelled")
    back, transfers = start(tiny_config(), unlabelled, tmp_path / "labelled")
    assert transfers["G"].unused == ("mapping.embed.bias", "mapping.embed.weight")
    assert transfers["D"].absent == ()
    ours = back.players["g"].nets["G"].synthesis.state_dict()
    theirs = state.players["g"].nets["G"].synthesis.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert all(value.isfinite().all() for value in Step(back)().values())


def test_larger_images_keep_the_levels_that_are_there(trained, tiny_config):
    _, folder = trained
    pictures = ArrayDataset(torch.zeros(8, 3, 32, 32, dtype=torch.uint8), name="large")
    state, transfers = start(tiny_config(channel_base=128), pictures, folder / "run")
    assert any(name.startswith("synthesis.b32.") for name in transfers["G"].absent)
    assert "synthesis.b16.conv1.weight" in transfers["G"].loaded
    assert all(value.isfinite().all() for value in Step(state)().values())


def test_what_does_not_fit_is_refused(trained, tiny_config, unlabelled, tmp_path):
    _, folder = trained
    other = tiny_config(channel_max=5, w_dim=6, z_dim=7)
    with pytest.raises(CheckpointError, match="next to nothing in it fits"):
        start(other, unlabelled, folder / "run")
    with pytest.raises(CheckpointError, match="no such file"):
        start(tiny_config(), unlabelled, folder / "nowhere")
    with pytest.raises(ConfigError, match="a resumed run has its weights already"):
        train(tiny_config(), STYLEGAN2, unlabelled, tmp_path, resume="a", init_from="b")


def test_frozen_layers_get_no_gradient_and_no_update(trained, tiny_config, unlabelled):
    """In a resnet D of two blocks: fromrgb, conv0, conv1, skip | conv0, conv1, skip."""
    _, folder = trained
    state, transfers = start(tiny_config(freeze_d=5), unlabelled, folder / "run")
    assert transfers["D"].share == 1.0
    d, step = state.players["d"].nets["D"], Step(state)
    frozen = [f"b16.{part}." for part in ("fromrgb", "conv0", "conv1", "skip")] + ["b8.conv0."]
    before = {name: value.clone() for name, value in d.state_dict().items()}
    for _ in range(2):
        step()
    moved = {name for name, value in d.state_dict().items() if not torch.equal(value, before[name])}
    held = {name for name in before if name.startswith(tuple(frozen))}
    assert not moved & held
    assert {"b8.conv1.weight", "b8.skip.weight", "b4.out.weight"} <= moved
    assert not any(name.removeprefix("D.") in held for name in state.players["d"].named_parameters)
    assert not any(d.get_buffer(name).requires_grad for name in held)
    assert {"b16.conv0.weight", "b8.conv0.bias"} <= held


def test_frozen_layers_still_carry_gradients_to_the_generator(trained, tiny_config, unlabelled):
    _, folder = trained
    with_all, _ = start(tiny_config(), unlabelled, folder / "run")
    frozen, _ = start(tiny_config(freeze_d=7), unlabelled, folder / "run")
    gradients = []
    for state in (with_all, frozen):
        step = Step(state)
        state.players["g"].optimizer.step = lambda: None
        phase = next(phase for phase in step.phases() if phase.name == "g")
        step.update(phase)
        gradients.append({n: p.grad for n, p in state.players["g"].named_parameters.items()})
    assert all(torch.equal(value, gradients[1][name]) for name, value in gradients[0].items())
    assert gradients[0]["G.synthesis.b4.const"].abs().max() > 0


def test_too_many_frozen_layers_are_refused(tiny_config, unlabelled):
    with pytest.raises(ConfigError, match=r"freeze_layers must be in 0\.\.7"):
        start_state(tiny_config(freeze_d=8), STYLEGAN2, unlabelled)


def test_a_run_with_frozen_layers_resumes_exactly(tiny_config, unlabelled, tmp_path):
    config = replace(tiny_config(freeze_d=4), total_kimg=0.016)
    unbroken = train(config, STYLEGAN2, unlabelled, tmp_path, hooks=())
    assert_same_run(unbroken, train_in_two(config, STYLEGAN2, unlabelled, tmp_path, cut=0.008))
