"""Fréchet distance: closed forms, other implementations, singular covariances, parts."""

import numpy as np
import pytest
import torch

from fastgan.metrics.frechet import (
    frechet_distance,
    frechet_distance_of_features,
    trace_sqrt_product,
)
from fastgan.metrics.moments import Moments
from tests.metrics.peers import peer


def gaussian(mean, covariance, count=1000):
    """Moments as of infinitely many draws."""
    moments = Moments(len(mean))
    moments.count = count
    moments.total = count * mean
    moments.outer = (count - 1) * covariance + count * torch.outer(mean, mean)
    return moments


def features(count, dim, seed=0):
    """Correlated features with a mean."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=generator, dtype=torch.float64) / dim**0.5
    x = torch.randn(count, dim, generator=generator, dtype=torch.float64)
    return x @ mix + 0.2 * seed


def test_isotropic_gaussians_have_their_closed_form():
    """N(0, I) and N(1/2, 4 I) in 16 dimensions: 16/4 + 16 (2 - 1)^2."""
    one, eye = torch.ones(16, dtype=torch.float64), torch.eye(16, dtype=torch.float64)
    found = frechet_distance(gaussian(0 * one, eye), gaussian(0.5 * one, 4 * eye))
    assert found == pytest.approx(20, abs=1e-9)


def test_commuting_covariances_have_their_closed_form():
    zero = torch.zeros(5, dtype=torch.float64)
    a, b = torch.arange(1.0, 6), torch.tensor([3.0, 0.1, 2, 7, 1])
    found = frechet_distance(
        gaussian(zero, a.double().square().diag()), gaussian(zero, b.double().square().diag())
    )
    assert found == pytest.approx(float((a - b).square().sum()), abs=1e-6)


def test_equal_sets_have_none_and_rotations_do_not_count():
    x, y = features(400, 24), features(300, 24, seed=1)
    assert abs(frechet_distance(Moments.of(x), Moments.of(x))) < 1e-6
    assert abs(frechet_distance_of_features(x[:20], x[:20])) < 1e-6
    rotation = torch.linalg.qr(torch.randn(24, 24, dtype=torch.float64)).Q
    plain, turned = (
        frechet_distance_of_features(a, b) for a, b in ((x, y), (x @ rotation, y @ rotation))
    )
    assert turned == pytest.approx(plain, rel=1e-9)
    assert frechet_distance_of_features(y, x) == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize(("dim", "count"), [(64, 2000), (128, 700)])
def test_it_agrees_with_torch_fidelity_on_full_rank(dim, count):
    fid = peer("torch_fidelity.metric_fid", "torch-fidelity")
    x, y = features(count, dim), features(count, dim, seed=1)
    statistics = [fid.fid_features_to_statistics(f) for f in (x, y)]
    (theirs,) = fid.fid_statistics_to_metric(*statistics, verbose=False).values()
    assert abs(frechet_distance_of_features(x, y) - theirs) <= 1e-6 * max(1, theirs)


@pytest.mark.parametrize("counts", [(80, 80), (80, 500), (500, 60)])
def test_it_agrees_with_torch_fidelity_on_singular_covariances(counts):
    fid = peer("torch_fidelity.metric_fid", "torch-fidelity")
    x, y = features(counts[0], 128), features(counts[1], 128, seed=1)
    statistics = [fid.fid_features_to_statistics(f) for f in (x, y)]
    (theirs,) = fid.fid_statistics_to_metric(*statistics, verbose=False).values()
    ours = frechet_distance_of_features(x, y)
    assert ours == pytest.approx(theirs, rel=1e-6)
    # Known by moments alone, roots of rounding add up, but far below the distance.
    assert frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(ours, rel=1e-5)


@pytest.mark.parametrize(
    ("module", "name", "package"),
    [
        ("cleanfid.fid", "frechet_distance", "clean-fid"),
        ("pytorch_fid.fid_score", "calculate_frechet_distance", "pytorch-fid"),
    ],
)
@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")
def test_it_agrees_with_the_square_root_of_scipy(module, name, package):
    other = peer(module, package)
    x, y = features(500, 32), features(400, 32, seed=1)
    arguments = []
    for f in (x.numpy(), y.numpy()):
        arguments += [f.mean(axis=0), np.cov(f, rowvar=False)]
    theirs = getattr(other, name)(*arguments)
    assert frechet_distance_of_features(x, y) == pytest.approx(theirs, rel=1e-8)


def test_both_factors_give_the_same_trace(monkeypatch):
    a, b = (torch.cov(features(200, 40, seed).T) for seed in (0, 1))
    fast = trace_sqrt_product(a, b)
    monkeypatch.setattr("fastgan.metrics.frechet.CONDITION", 2.0)  # never the Cholesky factor
    assert trace_sqrt_product(a, b) == pytest.approx(fast, rel=1e-10)


def test_bias_of_small_samples_is_the_predicted_one():
    """E d = D / n + D (D + 1) / (4 n) to leading order, one side exact, S = I."""
    dim, count = 64, 1000
    exact = gaussian(torch.zeros(dim, dtype=torch.float64), torch.eye(dim, dtype=torch.float64))
    draws = [
        frechet_distance(Moments.of(torch.randn(count, dim, dtype=torch.float64)), exact)
        for _ in range(6)
    ]
    assert np.mean(draws) == pytest.approx(dim / count + dim * (dim + 1) / (4 * count), rel=0.05)


@pytest.mark.parametrize(("count", "dim"), [(300, 200), (65, 65), (70, 64), (5, 9)])
def test_products_by_halves_are_the_whole_ones(count, dim):
    x = features(count, dim)
    torch.testing.assert_close(Moments.of(x).outer, x.T @ x, rtol=1e-12, atol=1e-12)


def test_moments_in_parts_and_merged_are_those_of_the_whole():
    x = features(101, 7)
    whole, parts, other = Moments.of(x), Moments(7), Moments(7)
    for part in x[:60].split(13):
        parts.add(part)
    other.add(x[60:])
    parts.merge(other)
    assert parts.count == 101
    torch.testing.assert_close(parts.mean, x.mean(dim=0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(parts.covariance, torch.cov(x.T), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(parts.outer, whole.outer, rtol=1e-13, atol=1e-12)


def test_wrong_features_are_refused():
    with pytest.raises(ValueError, match="equal length"):
        frechet_distance_of_features(torch.zeros(3, 9), torch.zeros(3, 8))
    with pytest.raises(ValueError, match="needs 2 vectors, got 1"):
        _ = Moments.of(torch.zeros(1, 4)).covariance
    with pytest.raises(ValueError, match="NaN or infinite"):
        Moments.of(torch.full((3, 2), float("nan")))
    with pytest.raises(ValueError, match=r"expected \[N, d\]"):
        Moments.of(torch.zeros(3))
