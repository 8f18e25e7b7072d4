"""Reading images elsewhere, against numpy and scipy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from fastgan.training.augment.sampling import (
    mirror_pad,
    on_chosen,
    on_chosen_everywhere,
    sample_bilinear,
    take_pixels,
)
from tests.training.augment.cases import F64, assert_twice_differentiable, images


@pytest.mark.parametrize("margin", [1, 4, 17])
@pytest.mark.parametrize("size", [(5, 7), (1, 3), (2, 2)])
def test_mirror_pad_is_reflection_however_small_the_image(margin, size):
    x = images(2, 3, *size)
    edges = [(0, 0), (0, 0), (margin, margin), (margin, margin)]
    assert np.array_equal(mirror_pad(x, margin).numpy(), np.pad(x.numpy(), edges, mode="reflect"))


def positions(height, width, n=2, rows=4, columns=5):
    generator = torch.Generator().manual_seed(3)
    x, y = torch.rand(2, n, rows, columns, dtype=F64, generator=generator)
    return x * (width - 1), y * (height - 1)


def test_bilinear_sampling_equals_scipy():
    image = images(2, 3, 6, 8)
    x, y = positions(6, 8)
    found = sample_bilinear(image, x, y)
    for n in range(2):
        for c in range(3):
            places = torch.stack([y[n], x[n]]).numpy()
            expected = ndimage.map_coordinates(image[n, c].numpy(), places, order=1)
            np.testing.assert_allclose(found[n, c].numpy(), expected, atol=1e-12)


def test_bilinear_sampling_of_one_row_and_of_the_corners():
    image = images(1, 1, 1, 4)
    x, y = torch.tensor([[[0.0, 3.0, 1.5]]], dtype=F64), torch.zeros(1, 1, 3, dtype=F64)
    row = image[0, 0, 0]
    expected = torch.stack([row[0], row[3], (row[1] + row[2]) / 2])
    torch.testing.assert_close(sample_bilinear(image, x, y)[0, 0, 0], expected)


def test_bilinear_sampling_has_every_order_of_gradient():
    x, y = positions(4, 5)
    assert_twice_differentiable(lambda image: sample_bilinear(image, x, y), images(2, 1, 4, 5))
    image = images(2, 1, 4, 5).requires_grad_()
    value = (sample_bilinear(image, x, y) ** 4).sum()
    for _ in range(3):  # the third derivative along ones, against the same of plain indexing
        (gradient,) = torch.autograd.grad(value, image, create_graph=True)
        value = gradient.sum()
    whole = torch.eye(20, dtype=F64).reshape(20, 1, 4, 5)
    matrices = [
        sample_bilinear(whole, x[n].expand(20, -1, -1), y[n].expand(20, -1, -1)).reshape(20, -1).T
        for n in (0, 1)
    ]
    dense = sum(
        (24 * (a @ image[n].flatten()) * a.sum(1) ** 3).sum() for n, a in enumerate(matrices)
    )
    torch.testing.assert_close(value, dense)


def test_take_pixels_equals_indexing_and_differentiates():
    image = images(2, 3, 4, 5)
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(5, (2, 3, 2), generator=generator)
    y = torch.randint(4, (2, 3, 2), generator=generator)
    expected = torch.stack([image[n][:, y[n], x[n]] for n in (0, 1)])
    assert torch.equal(take_pixels(image, x, y), expected)
    assert_twice_differentiable(lambda image: take_pixels(image, x, y), images(2, 1, 4, 5))


@pytest.mark.parametrize("chosen", [[0, 0, 0], [1, 0, 1], [1, 1, 1]])
def test_only_the_chosen_are_changed_on_either_way(chosen):
    """The way of the GPU, which computes all, and that of the CPU agree in every gradient."""
    chosen, factor = torch.tensor(chosen, dtype=torch.bool), torch.tensor([2.0, 3.0, 4.0])

    def cube(images, factor):
        return images**3 * factor[:, None, None, None]

    results = []
    for way in (on_chosen, on_chosen_everywhere):
        x = images(3, 1, 2, 2, dtype=torch.float32).requires_grad_()
        y = way(x, chosen, cube, factor)
        (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        second = first if not first.requires_grad else torch.autograd.grad(first.sum(), x)[0]
        results.append((y, first, second if chosen.any() else torch.zeros_like(x)))
    for ours, theirs in zip(*results, strict=True):
        assert torch.equal(ours, theirs)
    untouched = results[0][0][~chosen]
    assert torch.equal(untouched, images(3, 1, 2, 2, dtype=torch.float32)[~chosen])
