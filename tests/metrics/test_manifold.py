"""Precision, recall, density, coverage: peers, expectations, the failures that tell them apart."""

import pytest
import torch

from fastgan.metrics import neighbours
from fastgan.metrics.manifold import density_coverage, expected_coverage, precision_recall
from fastgan.metrics.neighbours import nearest, within
from tests.metrics.peers import peer


def draw(count=1000, dim=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64)


def test_precision_and_recall_are_those_of_torch_fidelity():
    prc = peer("torch_fidelity.metric_prc", "torch-fidelity")
    real, fake = draw(400), 1.1 * draw(300, seed=1) + 0.3
    options = {"prc_batch_size": 100, "verbose": False}
    theirs = prc.prc_features_to_metric(fake, real, prc_neighborhood=3, **options)
    ours = precision_recall(real, fake, k=3)
    assert round(ours.precision * 300) == round(theirs["precision"] * 300)
    assert round(ours.recall * 400) == round(theirs["recall"] * 400)


@pytest.mark.parametrize("k", [1, 5])
def test_all_four_are_those_of_prdc(k, capsys):
    prdc = peer("prdc", "prdc")
    real, fake = draw(400), 1.1 * draw(300, seed=1) + 0.3
    theirs = prdc.compute_prdc(real.numpy(), fake.numpy(), nearest_k=k)
    ours = {
        **precision_recall(real, fake, k)._asdict(),
        **density_coverage(real, fake, k)._asdict(),
    }
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_equal_distributions_have_the_expected_values():
    real, fake = draw(), draw(seed=1)
    found = density_coverage(real, fake, k=5)
    assert found.density == pytest.approx(1, abs=0.1)
    assert found.coverage == pytest.approx(expected_coverage(1000, 1000), abs=0.03)
    assert expected_coverage(10**6, 10**6) == pytest.approx(1 - 2**-5, abs=1e-5)


def test_failures_of_a_generator_show():
    real, fake = draw(), draw(seed=1)
    shrunk = precision_recall(real, 0.3 * fake)
    assert (shrunk.precision, shrunk.recall) == (1.0, 0.0)
    widened = precision_recall(real, 1.7 * fake)
    assert widened.precision < 0.25
    assert widened.recall > 0.99
    side = torch.ones(16, dtype=torch.float64)
    half = torch.where(torch.arange(1000) % 2 == 0, 10, -10)[:, None] * side
    lost = density_coverage(real + half, fake + 10 * side)
    assert lost.coverage == pytest.approx(0.5, abs=0.03)
    assert precision_recall(real + half, fake + 10 * side).recall < 0.5


def test_one_outlier_fools_precision_but_not_density():
    real, fake = draw(), 5 * draw(seed=1) + 20
    real[0] = 50
    assert precision_recall(real, fake).precision == 1.0
    found = density_coverage(real, fake)
    assert found.density < 0.5
    assert found.coverage <= 0.002


def test_copies_are_perfect_and_duplicates_stay_exact():
    real = draw(200, 3)
    assert precision_recall(real, real.clone()) == (1.0, 1.0)
    assert density_coverage(real, real.clone()).coverage == 1.0
    # Balls of radius 0: only what is equal lies in them, whatever the size of the numbers.
    pairs = (1e4 + draw(100, 7, seed=2)).repeat_interleave(4, dim=0)
    assert precision_recall(pairs, pairs[torch.randperm(400)]) == (1.0, 1.0)
    assert precision_recall(pairs, pairs + 1e-6).precision == 0.0


def test_surfaces_belong_to_balls():
    real = torch.arange(6.0, dtype=torch.float64)[:, None]
    fake = real + 1.0  # 6 lies on the surface of the last ball
    assert precision_recall(real, fake, k=1).precision == 1.0
    assert precision_recall(real, fake + 0.001, k=1).precision == pytest.approx(5 / 6)


def test_parts_in_memory_do_not_matter(monkeypatch):
    a, b = draw(70), draw(90, seed=1)
    whole = nearest(a, b, 4), [inside for _, inside in within(a, b, torch.full((90,), 25.0))]
    monkeypatch.setattr(neighbours, "ENTRIES", 1000)
    parts = nearest(a, b, 4), [inside for _, inside in within(a, b, torch.full((90,), 25.0))]
    assert torch.equal(whole[0][0], parts[0][0])
    assert torch.equal(whole[0][1], parts[0][1])
    assert torch.equal(torch.cat(whole[1]), torch.cat(parts[1]))
    distances = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    expected = distances.sort(dim=1).values[:, :4].square()
    torch.testing.assert_close(whole[0][0], expected, rtol=1e-13, atol=0)


def test_too_few_vectors_are_refused():
    with pytest.raises(ValueError, match="more than k = 3"):
        precision_recall(draw(3), draw(10))
    with pytest.raises(ValueError, match=r"\[N, d\] and \[M, d\]"):
        density_coverage(draw(10), draw(10, dim=4))
