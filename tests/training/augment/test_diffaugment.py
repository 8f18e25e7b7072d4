"""DiffAugment against its equations and numpy."""

import numpy as np
import pytest
import torch

from fastgan.errors import ConfigError
from fastgan.training.augment import DiffAugment, diffaugment
from tests.training.augment.cases import F64, assert_twice_differentiable, draws, images


def of(*values):
    return torch.tensor(values, dtype=F64)


def test_colour_amounts_by_the_equations():
    image = images(1, 3, 4, 5)
    assert torch.allclose(diffaugment.recolor(image, of(0.5), of(0.5), of(0.5)), image)
    bright = diffaugment.recolor(image, of(0.7), of(0.5), of(0.5))
    torch.testing.assert_close(bright, image + 0.2)
    gray = diffaugment.recolor(image, of(0.5), of(0.0), of(0.5))
    torch.testing.assert_close(gray, image.mean(1, keepdim=True).expand_as(image))
    strong = diffaugment.recolor(image, of(0.5), of(0.5), of(1.0))
    torch.testing.assert_close(strong - image.mean(), 1.5 * (image - image.mean()))
    dyed = diffaugment.recolor(image, of(0.5), of(1.0), of(0.5))
    torch.testing.assert_close(dyed, 2 * image - image.mean(1, keepdim=True))


def test_colour_leaves_alpha_alone():
    image = images(4, 4, 5, 6)
    found = diffaugment.apply_color(image, draws(4, F64))
    assert torch.equal(found[:, 3], image[:, 3])
    assert (found[:, :3] != image[:, :3]).all()


@pytest.mark.parametrize("shift", [(0, 0), (2, -1), (-3, 4)])
def test_translation_moves_pixels_and_fills_with_zero(shift):
    x, y = shift
    image = images(2, 3, 5, 7)
    padded = np.pad(image.numpy(), [(0, 0), (0, 0), (7, 7), (7, 7)])
    expected = np.roll(padded, (y, x), axis=(2, 3))[:, :, 7:-7, 7:-7]
    found = diffaugment.translate(image, torch.tensor([x, x]), torch.tensor([y, y]))
    assert np.array_equal(found.numpy(), expected)


def test_translation_reaches_an_eighth_of_the_size_and_no_more():
    image = torch.ones(2000, 1, 16, 32)
    moved = diffaugment.apply_translation(image, draws(2000))
    lost_rows = 16 - moved.amax(3).sum(2).flatten()
    lost_columns = 32 - moved.amax(2).sum(2).flatten()
    assert lost_rows.unique().tolist() == [0, 1, 2]
    assert lost_columns.unique().tolist() == [0, 1, 2, 3, 4]
    assert abs((lost_columns == 0).double().mean() - 1 / 9) < 0.04


def test_cutout_clears_a_rectangle_of_half_the_size_or_what_of_it_is_inside():
    cut = diffaugment.apply_cutout(torch.ones(500, 2, 8, 10), draws(500)) == 0
    assert torch.equal(cut[:, 0], cut[:, 1])
    rows, columns = cut[:, 0].any(2).sum(1), cut[:, 0].any(1).sum(1)
    assert torch.equal(cut[:, 0].sum((1, 2)), rows * columns)
    assert (rows.min(), rows.max()) == (2, 4)
    assert (columns.min(), columns.max()) == (3, 5)


def test_policy_is_applied_in_its_order():
    image = images(3, 3, 8, 8)
    both = DiffAugment(" translation, color ")(image, draws(3, F64))
    one = DiffAugment("translation")(image, draws(3, F64))
    assert torch.equal(both, DiffAugment("color")(one, draws(3, F64)))


def test_policy_is_twice_differentiable():
    policy = DiffAugment()
    assert_twice_differentiable(lambda x: policy(x, draws(1, F64)), images(1, 3, 3, 4))


def test_ranks_and_micro_batches_see_their_part_of_the_batch():
    image, all_draws = images(6, 3, 8, 8), draws(6, F64)
    whole = DiffAugment()(image, all_draws)
    part = all_draws.slice(slice(2, 5))
    torch.testing.assert_close(DiffAugment()(image[2:5], part), whole[2:5])
    assert DiffAugment()(image[:0], all_draws.slice(slice(0, 0))).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("policy", ["", "colour", "color,,cutout", "color,color"])
def test_unknown_policies_are_refused(policy):
    with pytest.raises(ConfigError, match="diffaugment_policy: expected some of color, transl"):
        DiffAugment(policy)
