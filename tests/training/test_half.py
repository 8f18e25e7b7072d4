"""Training with half-precision levels: what is finite, and how close it stays to float32."""

import pytest
import torch

from fastgan import recipes
from fastgan.synthesis.model_file import load_model
from fastgan.training import Step, start_state
from fastgan.training.report import write_model
from tests.training.runs import run_steps
from tests.training.test_step import gradients_of_every_phase

STYLEGAN2 = recipes.get("stylegan2")
HALF = pytest.mark.parametrize("half_dtype", ["float16", "bfloat16"])
MIXED = {"num_fp16_res": 1, "half_on_cpu": True, "conv_clamp": 256.0}
EPSILON = {"float16": 2**-10, "bfloat16": 2**-7}


def norm(tensors):
    return torch.stack([tensor.double().norm() for tensor in tensors]).norm()


@HALF
def test_every_update_stays_close_to_float32(tiny_config, unlabelled, half_dtype):
    """The gradients of both games and of both penalties, which differentiate twice."""
    changes = {**MIXED, "half_dtype": half_dtype}
    full = gradients_of_every_phase(tiny_config(conv_clamp=256.0), "stylegan2", unlabelled)
    half = gradients_of_every_phase(tiny_config(**changes), "stylegan2", unlabelled)
    assert half.keys() == full.keys()
    errors = {}
    for phase in ("d0", "d_r1", "g", "g_pl"):
        names = [key for key in full if key[0] == phase]
        assert all(half[key].dtype == torch.float32 for key in names)
        errors[phase] = norm([half[key] - full[key] for key in names]) / norm(
            [full[key] for key in names]
        )
    assert all(0 < error <= 10 * EPSILON[half_dtype] for error in errors.values()), errors


@HALF
def test_losses_and_weights_stay_float32_and_finite(tiny_config, unlabelled, half_dtype):
    config = tiny_config(**MIXED, half_dtype=half_dtype)
    state, means = run_steps(config, "stylegan2", unlabelled, 4)
    for recorded in means:
        assert all(value.dtype == torch.float32 for value in recorded.values())
        assert all(value.isfinite().all() for value in recorded.values())
    assert {"loss_d", "loss_g", "r1", "pl"} <= means[0].keys()
    for player in state.players.values():
        assert all(parameter.dtype == torch.float32 for parameter in player.parameters)
        assert all(parameter.isfinite().all() for parameter in player.parameters)
    types = {name: map_.dtype for name, map_ in features(state, unlabelled).items()}
    assert types["b16"] == getattr(torch, half_dtype)
    assert types["b8"] == types["b4"] == torch.float32


def features(state, dataset):
    with torch.no_grad():
        return state.players["d"].nets["D"](dataset.batch([0, 1, 2, 3])[0]).features


def test_gradients_that_overflow_half_do_not_reach_the_weights(tiny_config, unlabelled):
    """A loss scaled beyond 65504 overflows in float16: NaN counts as 0 and infinity as 1e5."""
    state = start_state(tiny_config(**MIXED), STYLEGAN2, unlabelled)
    step = Step(state)
    phase = next(phase for phase in step.phases() if phase.name == "g")
    plain = step.loss
    step.loss = lambda phase, ctx: plain(phase, ctx) * 1e9
    raw = []
    for parameter in state.players["g"].parameters:
        parameter.register_hook(raw.append)
    step.update(phase)
    assert not all(gradient.isfinite().all() for gradient in raw)
    gradients = [parameter.grad for parameter in state.players["g"].parameters]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert all(gradient.abs().max() <= 1e5 for gradient in gradients)
    assert all(parameter.isfinite().all() for parameter in state.players["g"].parameters)


def test_model_files_know_their_half_levels_and_sample_in_float32(
    tiny_config, unlabelled, tmp_path
):
    config = tiny_config(**MIXED, half_dtype="bfloat16")
    state = start_state(config, STYLEGAN2, unlabelled)
    write_model(state, tmp_path / "model.safetensors")
    generator, info = load_model(tmp_path / "model.safetensors")
    assert info.network.arguments["half_dtype"] == "bfloat16"
    z = torch.randn(2, 8)
    images = generator(z, noise_mode="const")
    assert torch.equal(images, generator(z, noise_mode="const", force_fp32=True))
