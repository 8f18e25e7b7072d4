"""Paths between latents."""

import pytest
import torch

from fastgan.synthesis.interpolation import lerp, slerp, walk


def normal(*size):
    return torch.randn(size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_slerp_ends_at_its_ends_and_keeps_the_norm_between():
    a, b = normal(2, 64)
    assert torch.allclose(slerp(a, b, 0.0), a)
    assert torch.allclose(slerp(a, b, 1.0), b)
    for t in (0.25, 0.5, 0.9):
        assert torch.allclose(slerp(a, b, t).norm(), lerp(a.norm(), b.norm(), t))


def test_slerp_moves_at_constant_angle():
    a, b = torch.eye(2, dtype=torch.float64)
    for t in (0.1, 1 / 3, 0.75):
        expected = torch.tensor([t * torch.pi / 2], dtype=torch.float64)
        assert torch.allclose(slerp(a, b, t), torch.cat([expected.cos(), expected.sin()]))


def test_slerp_of_equal_points_is_finite():
    a = normal(8)
    assert torch.allclose(slerp(a, a, 0.5), a)


def test_walk_visits_every_point_and_closes():
    points = normal(3, 5)
    path = walk(points, 4)
    assert path.shape == (12, 5)
    assert torch.equal(path[::4], points)
    assert torch.allclose(path[10], lerp(points[2], points[0], 0.5))


def test_walk_without_loop_ends_at_the_last_point():
    points = normal(3, 2, 5)
    path = walk(points, 4, loop=False)
    assert path.shape == (9, 2, 5)
    assert torch.equal(path[-1], points[-1])


def test_walk_in_z_keeps_the_norm():
    points = torch.nn.functional.normalize(normal(2, 16), dim=1)
    assert torch.allclose(walk(points, 8, spherical=True).norm(dim=1), torch.ones(16).double())
    assert walk(points, 8).norm(dim=1).min() < 0.95


@pytest.mark.parametrize(("count", "frames"), [(1, 4), (3, 0)])
def test_walk_refuses_too_little(count, frames):
    with pytest.raises(ValueError, match="walk"):
        walk(normal(count, 4), frames)
