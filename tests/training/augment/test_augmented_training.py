"""Training with augmentation: settings, steps however they are divided, resume, R1, metrics."""

import json
from dataclasses import replace

import pytest
import torch

from fastgan import recipes
from fastgan.data import ArrayDataset, shapes
from fastgan.errors import CheckpointError, ConfigError
from fastgan.training import Step, start_state, train
from fastgan.training.augment import AdaptiveAugmentation, FixedAugmentation
from fastgan.training.report import Checkpoints, default_hooks
from tests.training.runs import assert_same_run, everything, run_steps
from tests.training.test_backends import loss_curve

RISING = {"augment": "ada", "ada_target": -0.9, "ada_kimg": 0.064}  # p = 0.25 after 4 steps of 4
STYLEGAN2 = recipes.get("stylegan2")


@pytest.mark.parametrize("recipe", ["stylegan2", "dcgan"])
def test_no_preset_augments_unless_asked(recipe):
    for make in recipes.get(recipe).PRESETS.values():
        assert make().augment == "none"


@pytest.mark.parametrize("recipe", ["stylegan2", "dcgan"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"augment": "all"}, "augment: expected one of none, ada, fixed, diffaugment, got all"),
        ({"augment_bundle": "cbg"}, "augment_bundle: expected one of blit, geom"),
        ({"augment_p": 1.1}, "augment_p: expected a number at least 0 and at most 1, got 1.1"),
        ({"ada_target": -1.0}, "ada_target: expected a number above -1 and below 1"),
        ({"ada_kimg": 0.0}, "ada_kimg: expected a number above 0"),
        ({"diffaugment_policy": "blur"}, "expected some of color, translation, cutout"),
    ],
)
def test_settings_are_checked(recipe, change, message):
    with pytest.raises(ConfigError, match=message):
        recipes.get(recipe).Config(**change)


def test_settings_reach_the_recipe(tiny_config, unlabelled):
    ada = {"augment": "ada", "augment_bundle": "bg", "ada_target": 0.3, "ada_kimg": 7.0}
    built = STYLEGAN2.build(tiny_config(**ada), unlabelled).augment
    assert isinstance(built, AdaptiveAugmentation)
    assert (built.bundle, built.target, built.kimg, built.interval) == ("bg", 0.3, 7.0, 4)
    fixed = STYLEGAN2.build(tiny_config(augment="fixed", augment_p=0.4), unlabelled).augment
    assert isinstance(fixed, FixedAugmentation)
    assert (fixed.bundle, fixed.probability) == ("bgc", 0.4)
    other = tiny_config(augment="diffaugment", diffaugment_policy="cutout")
    assert len(STYLEGAN2.build(other, unlabelled).augment.transforms) == 1
    assert STYLEGAN2.build(tiny_config(), unlabelled).augment is None


def test_colour_needs_channels_that_are_colours(tiny_config):
    pairs = ArrayDataset(torch.zeros(4, 2, 16, 16, dtype=torch.uint8), name="pairs")
    with pytest.raises(ConfigError, match=r"bgc changes colours.*1 \(grey\), 3.*got 2"):
        STYLEGAN2.build(tiny_config(augment="ada"), pairs)
    STYLEGAN2.build(tiny_config(augment="ada", augment_bundle="bg"), pairs)


@pytest.mark.parametrize("settings", [RISING, {"augment": "diffaugment"}], ids=["ada", "diff"])
def test_micro_batches_give_the_same_run(tiny_config, unlabelled, settings):
    config = tiny_config(precision="float64", mbstd_group=1, **settings)
    runs = [
        run_steps(replace(config, micro_batch=m), "stylegan2", unlabelled, 6) for m in (None, 3)
    ]
    (first, means), (second, other_means) = runs
    for one, two in zip(means, other_means, strict=True):
        assert one.keys() == two.keys()
        for name, mean in one.items():
            assert torch.allclose(mean, two[name], rtol=1e-8, atol=1e-8), name
    if settings is RISING:
        assert means[-1]["augment_p"] == 0.25
        assert first.recipe.augment.p == second.recipe.augment.p


@pytest.mark.parametrize("cut", [0.016, 0.020])  # at a move of p and between two
def test_resumed_run_with_ada_equals_the_unbroken_one(tiny_config, pictures, tmp_path, cut):
    config = tiny_config(**RISING, total_kimg=0.028)
    unbroken = train(config, STYLEGAN2, pictures, tmp_path, hooks=())
    before = replace(config, total_kimg=cut)
    train(before, STYLEGAN2, pictures, tmp_path, hooks=[Checkpoints(tmp_path, kimg=1.0)])
    resumed = train(config, STYLEGAN2, pictures, tmp_path, resume=tmp_path, hooks=())
    assert unbroken.recipe.augment.p == 0.25
    assert "augment/sign_sum" in everything(unbroken)
    assert_same_run(unbroken, resumed)


def test_checkpoint_of_before_these_settings_resumes(tiny_config, pictures, tmp_path):
    config = tiny_config(total_kimg=0.004)
    train(config, STYLEGAN2, pictures, tmp_path, hooks=[Checkpoints(tmp_path, kimg=1.0)])
    path = next(tmp_path.glob("checkpoints/*/state.json"))
    about = json.loads(path.read_text())
    for name in [name for name in about["config"] if name.startswith(("augment", "ada", "diff"))]:
        del about["config"][name]
    path.write_text(json.dumps(about))
    longer = replace(config, total_kimg=0.008)
    assert train(longer, STYLEGAN2, pictures, tmp_path, resume=tmp_path, hooks=()).step == 2
    with pytest.raises(CheckpointError, match="augment none -> ada"):
        train(replace(longer, augment="ada"), STYLEGAN2, pictures, tmp_path, resume=tmp_path)


def test_metrics_show_the_probability_and_what_it_follows(tiny_config, pictures, tmp_path):
    config = tiny_config(**RISING, log_kimg=0.016, sample_kimg=0.0, checkpoint_kimg=0.0,
                         tensorboard=False)  # fmt: skip
    train(config, STYLEGAN2, pictures, tmp_path, hooks=default_hooks(config, tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"augment_p", "r_t"} <= lines[-1].keys()
    assert all(-1 <= line["r_t"] <= 1 for line in lines)
    assert lines[-1]["augment_p"] > 0


def test_r_t_is_logged_without_augmentation_too(tiny_config, unlabelled):
    _, (means,) = run_steps(tiny_config(), "stylegan2", unlabelled, 1)
    assert means["r_t"].item() == pytest.approx(2 * means["d_real_accuracy"].item() - 1)
    assert "augment_p" not in means


@pytest.mark.parametrize(
    "settings",
    [{"augment": "fixed", "augment_p": 1.0, "augment_bundle": "bgcfnc"},
     {"augment": "diffaugment"}],
    ids=["bgcfnc", "diffaugment"],
)  # fmt: skip
def test_gradient_of_r1_through_the_augmentation(tiny_config, unlabelled, settings):
    """The penalty's gradient in D's weights, a second derivative, against finite differences."""
    config = tiny_config(precision="float64", r1_gamma=1000.0, **settings)
    state = start_state(config, STYLEGAN2, unlabelled)
    step = Step(state)
    (phase,) = (phase for phase in step.phases() if phase.name == "d_r1")
    parameters = state.players["d"].parameters
    generator = torch.Generator().manual_seed(4)
    way = [torch.randn(p.shape, dtype=p.dtype, generator=generator) for p in parameters]
    for parameter, direction in zip(parameters, way, strict=True):
        parameter.data += 0.1 * direction.flip(0)  # biases of 0 on areas of 0 would be on the kinks

    def r1(by):
        with torch.no_grad():
            for parameter, direction in zip(parameters, way, strict=True):
                parameter += by * direction
        loss = step.loss(phase, step.context(phase, state.draws("d_r1", 4)))
        with torch.no_grad():
            for parameter, direction in zip(parameters, way, strict=True):
                parameter -= by * direction
        return loss

    gradients = torch.autograd.grad(r1(0.0), parameters, allow_unused=True, materialize_grads=True)
    slope = sum((g * direction).sum() for g, direction in zip(gradients, way, strict=True))
    small = 1e-7
    difference = (r1(small) - r1(-small)) / (2 * small)
    assert abs(slope) > 0.1
    torch.testing.assert_close(difference.detach(), slope.detach(), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-8), ("float32", 1e-2)])
def test_fifty_steps_agree_with_the_reference(kernel_backend, tiny_config, precision, tolerance):
    """With ADA, R1 and path length; p rises, and reaches 0.8."""
    drawn = shapes(20, 8, torch.Generator().manual_seed(0))
    dataset = ArrayDataset(drawn.images, drawn.kind, name="shapes")
    ada = {"augment": "ada", "ada_target": -0.9, "ada_kimg": 0.24}
    config = tiny_config(precision=precision, r1_every=4, total_kimg=1.0, **ada)
    ours, reference = (
        loss_curve(config, dataset, backend, steps=50) for backend in (kernel_backend, "reference")
    )
    names = {"loss_d", "loss_g", "r1", "pl", "pl_length", "augment_p"}
    assert names <= ours.keys() == reference.keys()
    for name in names:
        torch.testing.assert_close(
            ours[name], reference[name], rtol=tolerance, atol=0.0, equal_nan=True, msg=name
        )
    assert ours["augment_p"][-1] == pytest.approx(0.8)
