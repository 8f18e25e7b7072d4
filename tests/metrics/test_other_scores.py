"""Inception score, path length, memorisation, score strings."""

import math

import pytest
import torch

from fastgan.metrics.inception_score import inception_score
from fastgan.metrics.memorisation import memorisation
from fastgan.metrics.path_length import Walk, path_length
from fastgan.metrics.scores import Score
from tests.metrics.peers import peer


def test_inception_score_has_its_closed_forms():
    assert inception_score(torch.zeros(100, 10)) == pytest.approx((1, 0), abs=1e-12)
    sure = 200.0 * torch.eye(10).repeat(10, 1)
    assert inception_score(sure, splits=1).mean == pytest.approx(10)
    assert inception_score(1e30 * sure, splits=1).mean == pytest.approx(10)  # 0 log 0


def test_inception_score_is_that_of_torch_fidelity():
    isc = peer("torch_fidelity.metric_isc", "torch-fidelity")
    logits = 3 * torch.randn(503, 7)
    theirs = isc.isc_features_to_metric(logits)
    assert list(theirs.values()) == pytest.approx(list(inception_score(logits)), rel=1e-9)


def test_inception_score_refuses_fewer_images_than_parts():
    with pytest.raises(ValueError, match="10 splits"):
        inception_score(torch.zeros(9, 4))


def squared(a, b):
    return (a - b).square().sum(dim=1)


def walks(count=50, dim=6):
    generator = torch.Generator().manual_seed(1)
    return [
        Walk(*torch.randn(2, count, dim, generator=generator, dtype=torch.float64))
        for _ in range(3)
    ]


@pytest.mark.parametrize("sampling", ["end", "full"])
@pytest.mark.parametrize("epsilon", [1e-4, 1e-2])
def test_path_length_of_a_linear_generator_is_exact(sampling, epsilon):
    """G(w) = A w and squared distances: the mean of |A (w2 - w1)|^2, for any step and place."""
    matrix = torch.randn(9, 6, dtype=torch.float64)
    found = path_length(
        walks(), lambda w: w @ matrix.T, squared, sampling=sampling, epsilon=epsilon, trim=0.0
    )
    expected = torch.cat([squared(w.end @ matrix.T, w.start @ matrix.T) for w in walks()])
    assert found.mean == pytest.approx(float(expected.mean()), rel=1e-6)
    assert found.pairs == 150


def test_path_length_in_z_is_that_of_a_great_circle():
    """An arc of angle a on the sphere of radius sqrt(D) has |dp/dt|^2 = D a^2."""
    found = path_length(walks(), lambda z: z, squared, space="z", sampling="full", trim=0.0)
    angles = torch.cat([torch.cosine_similarity(w.start, w.end).acos() for w in walks()])
    assert found.mean == pytest.approx(6 * float(angles.square().mean()), rel=1e-4)


def test_path_length_leaves_out_the_extremes():
    values = iter([torch.cat([torch.arange(99.0), torch.tensor([1e9])])])
    found = path_length(
        [Walk(torch.zeros(100, 1), torch.ones(100, 1))], lambda w: w, lambda a, b: next(values),
        epsilon=1.0, trim=0.02,
    )  # fmt: skip
    assert found.mean == pytest.approx(sum(range(1, 99)) / 98)


def test_path_length_wants_pairs_and_numbers():
    with pytest.raises(ValueError, match="at least one pair"):
        path_length([], lambda w: w, squared)
    with pytest.raises(ValueError, match="finite"):
        path_length(walks(), lambda w: w * math.nan, squared)


def test_memorisation_tells_copies_from_new_images():
    train, held_out, fresh = torch.randn(3, 400, 8, generator=torch.Generator().manual_seed(0))
    honest = memorisation(train, fresh, held_out)
    assert honest.ratio == pytest.approx(1, abs=0.1)
    assert (honest.copies, honest.is_suspicious) == (0, False)
    assert memorisation(train, fresh).ratio == pytest.approx(1, abs=0.1)
    thief = memorisation(train, train + 1e-3 * fresh, held_out)
    assert thief.ratio < 0.01
    assert thief.is_suspicious
    assert torch.equal(thief.nearest, torch.arange(400))
    exact = memorisation(train, torch.cat([fresh, train[:4]]), held_out)
    assert exact.copies == pytest.approx(4 / 404)
    assert exact.is_suspicious


def test_memorisation_sees_mirrored_copies():
    train = torch.randn(100, 8)
    mirrored = train.flip(1)
    assert memorisation(train, mirrored).copies == 0
    found = memorisation([train, mirrored], mirrored)
    assert found.copies == 1
    # A symmetric image is no neighbour of itself, mirrored.
    symmetric = torch.cat([train[:, :4], train[:, :4].flip(1)], dim=1)
    fakes = torch.randn(50, 8)
    both, plain = (
        memorisation([symmetric, symmetric.flip(1)], fakes),
        memorisation(symmetric, fakes),
    )
    assert both.ratio == pytest.approx(plain.ratio)


def test_a_score_says_everything_it_must():
    score = Score(
        "KID-EffLite0", -0.00123, "efflite0", "bilinear 8x8", 5000, 400, "all of birds", 7, 0.0004,
        {"subsets": "100x400"},
    )  # fmt: skip
    assert str(score) == (
        "KID-EffLite0 -0.00123 +- 0.0004 (extractor efflite0, resize bilinear 8x8, 5000 real, "
        "400 fake, split all of birds, seed 7, subsets 100x400)"
    )
    assert score.to_json()["text"] == str(score)
