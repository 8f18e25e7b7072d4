"""Synthetic data has the statistics and factors that it claims."""

import math

import numpy as np
import pytest
import torch

from fastgan.data import ArrayDataset, grid_mixture, ring_mixture, shapes
from fastgan.errors import DataError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_ring_mixture_centers_lie_evenly_on_the_circle():
    ring = ring_mixture(num_modes=8, radius=2.0)
    assert ring.centers.shape == (8, 2)
    assert torch.allclose(ring.centers.norm(dim=1), torch.full((8,), 2.0))
    gaps = torch.cdist(ring.centers, ring.centers).fill_diagonal_(math.inf).min(dim=1).values
    assert torch.allclose(gaps, torch.full((8,), 4 * math.sin(math.pi / 8)))


def test_grid_mixture_centers_form_a_centred_square():
    grid = grid_mixture(side=5, spacing=2.0)
    assert grid.centers.shape == (25, 2)
    assert torch.allclose(grid.centers.mean(dim=0), torch.zeros(2), atol=1e-6)
    assert sorted(set(grid.centers[:, 0].tolist())) == [-4.0, -2.0, 0.0, 2.0, 4.0]


@pytest.mark.parametrize("mixture", [ring_mixture(), grid_mixture()], ids=["ring", "grid"])
def test_mixture_samples_fill_every_mode_with_the_stated_spread(mixture):
    points = mixture.sample(20_000, generator())
    distance, mode = torch.cdist(points, mixture.centers).min(dim=1)
    counts = torch.bincount(mode, minlength=len(mixture.centers)).double()
    expected = 20_000 / len(mixture.centers)
    assert (counts - expected).abs().max() < 5 * math.sqrt(expected)
    assert (distance**2).mean().sqrt().item() == pytest.approx(mixture.std * math.sqrt(2), rel=0.03)


def test_mixture_samples_repeat_with_the_seed():
    ring = ring_mixture()
    assert torch.equal(ring.sample(32, generator(1)), ring.sample(32, generator(1)))
    assert not torch.equal(ring.sample(32, generator(1)), ring.sample(32, generator(2)))


@pytest.mark.parametrize("setting", [{"num_modes": 0}, {"radius": -1.0}, {"std": 0.0}])
def test_ring_mixture_rejects_settings_out_of_range(setting):
    with pytest.raises(DataError, match=next(iter(setting))):
        ring_mixture(**setting)


@pytest.mark.parametrize("resolution", [32, (24, 40)])
def test_shapes_show_their_colour_and_background(resolution):
    drawn = shapes(200, resolution, generator())
    height, width = (resolution, resolution) if isinstance(resolution, int) else resolution
    assert drawn.images.shape == (200, 3, height, width)
    assert drawn.images.dtype == torch.uint8
    half = min(height, width) / 2
    column = (drawn.center[:, 0] * half + width / 2).long()
    row = (drawn.center[:, 1] * half + height / 2).long()
    middle = drawn.images[torch.arange(200), :, row, column]
    assert torch.equal(middle, drawn.colour)
    corners = drawn.images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    untouched = (corners == drawn.background[:, :, None]).all(dim=1).any(dim=1)
    assert untouched.all()


def test_shapes_of_each_kind_cover_their_own_area():
    drawn = shapes(600, 64, generator())
    share = (drawn.images.float() - drawn.background[:, :, None, None]).sum(dim=(1, 2, 3))
    full = (drawn.colour.float() - drawn.background.float()).sum(dim=1)
    area = share / full / 32**2 / drawn.radius**2  # in units of radius squared
    inside = (drawn.center.abs().amax(dim=1) + 1.4 * drawn.radius) < 1
    expected = {0: math.pi, 1: 4.0, 2: 4.0 / 3 * math.sqrt(3) * 1.0}
    for kind, value in expected.items():
        chosen = inside & (drawn.kind == kind)
        assert chosen.sum() > 20
        assert area[chosen].mean().item() == pytest.approx(value, rel=0.05)


def test_shapes_repeat_with_the_seed():
    first, again = shapes(8, 16, generator(4)), shapes(8, 16, generator(4))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, shapes(8, 16, generator(5)).images)


def test_array_dataset_scales_and_mirrors_images():
    pixels = torch.randint(0, 256, (5, 3, 4, 6), dtype=torch.uint8, generator=generator())
    data = ArrayDataset(pixels)
    images, labels = data.batch([4, 0], torch.tensor([True, False]))
    assert torch.equal(images[0], pixels[4].flip(2).float() / 127.5 - 1)
    assert torch.equal(images[1], pixels[0].float() / 127.5 - 1)
    assert labels.shape == (2, 0)
    assert data.image_shape == (3, 4, 6)


def test_array_dataset_keeps_points_as_they_are():
    points = ring_mixture().sample(10, generator()).double()
    data = ArrayDataset(points)
    items, _ = data.batch(torch.tensor([3, 3]), torch.tensor([False, False]))
    assert torch.equal(items, points[[3, 3]].float())
    assert data.image_shape == (2,)
    with pytest.raises(DataError, match="cannot be mirrored"):
        data.batch([0], torch.tensor([True]))


def test_array_dataset_turns_classes_into_one_hot_rows():
    data = ArrayDataset(np.zeros((3, 1, 2, 2), dtype=np.uint8), np.array([2, 0, 2]))
    assert data.c_dim == 3
    assert data.labels([1, 0]).tolist() == [[1, 0, 0], [0, 0, 1]]
    vectors = torch.tensor([[0.5, -1.0]] * 3)
    assert ArrayDataset(np.zeros((3, 2), np.float32), vectors).label(1).tolist() == [0.5, -1.0]


@pytest.mark.parametrize(
    "array",
    [
        torch.zeros(2, 3, 4, 4),
        torch.zeros(2, 3, 4, dtype=torch.uint8),
        torch.zeros(0, 2),
        torch.zeros(3, 2, dtype=torch.int64),
        torch.tensor([[math.nan, 0.0]]),
    ],
    ids=["float images", "no channels", "empty", "integer points", "nan"],
)
def test_array_dataset_rejects_other_arrays(array):
    with pytest.raises(DataError, match="ArrayDataset"):
        ArrayDataset(array)


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, -1], [[1], [2], [3]]])
def test_array_dataset_rejects_labels_that_do_not_fit(labels):
    with pytest.raises(DataError, match="expected"):
        ArrayDataset(torch.zeros(3, 2), torch.tensor(labels))


def test_array_dataset_fingerprint_follows_contents():
    points = torch.arange(8.0).reshape(4, 2)
    assert ArrayDataset(points).fingerprint() == ArrayDataset(points.clone()).fingerprint()
    assert ArrayDataset(points).fingerprint() != ArrayDataset(points.flip(0)).fingerprint()
    labelled = ArrayDataset(points, torch.tensor([0, 1, 0, 1]))
    assert labelled.fingerprint() != ArrayDataset(points).fingerprint()
