"""The whole pipeline: what is on, how often, order-free draws, every order of gradient."""

import math
import typing
from dataclasses import replace

import pytest
import torch

from fastgan.errors import ConfigError
from fastgan.training.augment import BUNDLES, AugmentedConfig, augment
from fastgan.training.augment.chances import Chances
from fastgan.training.augment.pipeline import check_images
from tests.training.augment.cases import F64, assert_twice_differentiable, draws, images

EVERYTHING = "bgcfnc"
DTYPES = (torch.float32, F64)


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_probability_zero_is_exactly_the_input(bundle, dtype):
    image = images(5, 3, 8, 10, dtype=dtype)
    image[0, 0, 0, :3] = torch.tensor([0.0, -0.0, 1e-40])
    for probability in (0.0, torch.zeros((), dtype=F64)):
        found = augment(image, draws(5), probability, bundle)
        assert torch.equal(found.view(torch.int8), image.view(torch.int8))  # signs of 0 too
        assert found.dtype == dtype


@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(16, 16), (9, 12), (4, 4)])
def test_every_bundle_changes_images_of_every_kind(bundle, channels, size):
    image = images(6, channels, *size, dtype=torch.float32)
    found = augment(image, draws(6), 1.0, bundle)
    assert found.shape == image.shape
    assert found.isfinite().all()
    assert (found != image).flatten(1).any(1).sum() >= 5  # a blit can be the identity
    if bundle == "color" and channels == 4:
        assert torch.equal(found[:, 3], image[:, 3])


def test_bundles_hold_the_groups_of_their_letters():
    color = {"brightness", "contrast", "lumaflip", "hue", "saturation"}
    assert BUNDLES["bg"] == BUNDLES["blit"] | BUNDLES["geom"]
    assert BUNDLES["bgc"] == BUNDLES["bg"] | color
    assert BUNDLES["bgcf"] - BUNDLES["bgc"] == {"imgfilter"}
    assert BUNDLES["bgcfn"] - BUNDLES["bgcf"] == {"noise"}
    assert BUNDLES["bgcfnc"] - BUNDLES["bgcfn"] == {"cutout"}
    assert len(BUNDLES["bgcfnc"]) == 15
    hint = typing.get_type_hints(AugmentedConfig)["augment_bundle"]
    assert typing.get_args(hint) == tuple(BUNDLES)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_each_transform_is_applied_as_often_as_asked(probability):
    count = 20_000
    numbers = Chances(draws(count), probability, BUNDLES[EVERYTHING])
    bound = 5 * math.sqrt(probability * (1 - probability) / count)  # five deviations
    bands = [("imgfilter", f"band{band}") for band in range(4)]
    plain = [(name, None) for name in BUNDLES[EVERYTHING] - {"imgfilter", "rotate"}]
    gates = torch.stack([numbers.applies(*which) for which in (*bands, *plain)]).double()
    assert (gates.mean(1) - probability).abs().max() < bound
    together = torch.corrcoef(gates) - torch.eye(len(gates), dtype=F64)
    assert together.abs().max() < 5 / math.sqrt(count)


def test_probabilities_above_one_are_one():
    image = images(4, 3, 8, 8)
    ones, twos = (augment(image, draws(4), p, "bg") for p in (1.0, 2.0))
    assert torch.equal(ones, twos)


def test_a_transform_sees_the_same_numbers_in_every_bundle():
    alone, among = (Chances(draws(9), 0.5, BUNDLES[name]) for name in ("noise", EVERYTHING))
    assert torch.equal(alone.applies("noise"), among.applies("noise"))
    assert torch.equal(alone.normal("noise"), among.normal("noise"))
    assert not alone.applies("cutout").any()


@pytest.mark.parametrize("probability", [0.3, 1.0])
def test_ranks_and_micro_batches_see_their_part_of_the_batch(probability):
    image, all_draws = images(11, 3, 12, 9), draws(11, F64)
    whole = augment(image, all_draws, probability, EVERYTHING)
    for world in (2, 3):
        for rank in range(world):
            mine = replace(all_draws, rank=rank, world=world)
            for start in range(0, len(mine), 2):
                part = mine.slice(slice(start, start + 2))
                found = augment(image[list(part.positions)], part, probability, EVERYTHING)
                expected = whole[list(part.positions)]
                torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_reals_and_fakes_phases_and_steps_differ():
    image = images(8, 3, 8, 8)
    every = [draws(8).scoped("D/real"), draws(8).scoped("D/fake"), draws(8, phase="g"),
             draws(8, step=3), draws(8, phase="d_r1")]  # fmt: skip
    results = [augment(image, one, 1.0, "bgc") for one in every]
    for index, one in enumerate(results):
        assert all(not torch.equal(one, other) for other in results[:index])
    assert torch.equal(results[2], augment(image, draws(8, phase="g"), 1.0, "bgc"))


def test_float32_is_close_to_float64():
    double = images(8, 3, 16, 16)
    found = augment(double.float(), draws(8), 1.0, EVERYTHING)
    expected = augment(double, draws(8), 1.0, EVERYTHING)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-3)  # of up to 40


@pytest.mark.parametrize(
    ("bundle", "channels"), [("bgcf", 3), (EVERYTHING, 1), (EVERYTHING, 3), (EVERYTHING, 4)]
)
def test_pipeline_is_twice_differentiable(bundle, channels):
    def function(x):
        return augment(x, draws(1, F64), 1.0, bundle) / 4

    assert_twice_differentiable(function, images(1, channels, 3, 4))


def test_pipeline_is_affine_so_that_r1_is_known_in_closed_form():
    """|d sum(w A(x)) / dx|^2 from autograd equals that from the matrix of A, column by column."""
    x, w = images(1, 3, 4, 4).requires_grad_(), images(1, 3, 4, 4)

    def pipe(x):
        return augment(x, draws(1, F64), 1.0, "bgcf")

    basis = torch.eye(48, dtype=F64).reshape(48, 3, 4, 4)
    origin = pipe(torch.zeros_like(x))
    matrix = torch.stack([(pipe(unit[None]) - origin).flatten() for unit in basis])
    (gradient,) = torch.autograd.grad((pipe(x) * w).sum(), x)
    torch.testing.assert_close(gradient.flatten(), matrix @ w.flatten())


def test_no_images_give_no_images():
    nothing = images(0, 3, 8, 8)
    assert augment(nothing, draws(0), 1.0, EVERYTHING).shape == (0, 3, 8, 8)
    assert augment(nothing, draws(4).slice(slice(4, 8)), 1.0, EVERYTHING).shape[0] == 0


def test_errors_say_what_came():
    with pytest.raises(ConfigError, match="augment_bundle: expected one of blit, geom"):
        augment(images(1, 3, 4, 4), draws(1), 0.5, "bcg")
    with pytest.raises(ValueError, match="3 images and draws for 4 samples"):
        augment(images(3, 3, 4, 4), draws(4), 0.5, "bg")
    with pytest.raises(ValueError, match=r"expected images \[N, C, H, W\], got \(4, 2\)"):
        check_images(images(4, 2), draws(4))
