import math

import pytest
import torch

from fastgan.errors import ConfigError
from fastgan.networks import DiscriminatorOutput
from fastgan.training.objectives import Minimax, NonSaturating, RelativisticPairing


def output(*logits):
    value = torch.tensor(logits, dtype=torch.float64).reshape(-1, 1).requires_grad_()
    return DiscriminatorOutput(value, {})


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def gradient(loss, *outputs):
    return [g.flatten().tolist() for g in torch.autograd.grad(loss, [o.logits for o in outputs])]


@pytest.mark.parametrize("objective", [NonSaturating(), Minimax()])
def test_d_loss_is_cross_entropy(objective):
    real, fake = output(0.7, -1.2), output(2.0, -8.0)
    loss = objective.d_loss(real, fake)
    expected = -sum(math.log(sigmoid(x)) for x in (0.7, -1.2)) / 2
    expected -= sum(math.log(1 - sigmoid(x)) for x in (2.0, -8.0)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    on_real, on_fake = gradient(loss, real, fake)
    assert on_real == pytest.approx([-sigmoid(-0.7) / 2, -sigmoid(1.2) / 2], rel=1e-12)
    assert on_fake == pytest.approx([sigmoid(2.0) / 2, sigmoid(-8.0) / 2], rel=1e-12)


def test_g_gradient_stays_alive_only_without_saturation():
    fake = output(-8.0)
    (alive,) = gradient(NonSaturating().g_loss(fake, None), fake)
    (vanishing,) = gradient(Minimax().g_loss(fake, None), fake)
    assert alive == pytest.approx([-sigmoid(8.0)], rel=1e-12)  # -1.0
    assert vanishing == pytest.approx([-sigmoid(-8.0)], rel=1e-12)  # -3e-4


@pytest.mark.parametrize("objective", [NonSaturating(), Minimax(), NonSaturating(0.9)])
def test_patch_logits_reduce_like_a_batch(objective):
    real, fake = torch.randn(3, 1, 2, 4), torch.randn(3, 1, 2, 4)
    maps = [DiscriminatorOutput(x, {}) for x in (real, fake)]
    flat = [DiscriminatorOutput(x.reshape(-1, 1), {}) for x in (real, fake)]
    assert torch.allclose(objective.d_loss(*maps), objective.d_loss(*flat))
    assert torch.allclose(objective.g_loss(maps[1], None), objective.g_loss(flat[1], None))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_one_sided_smoothing_has_the_optimum_of_the_theory(share):
    """Where reals have density p and fakes q, the best D is sigmoid^-1(a p / (p + q))."""
    a, elsewhere = 0.9, output(0.0)
    best = a * share
    here = output(math.log(best / (1 - best)))
    on_real = NonSaturating(a).d_loss(here, elsewhere)
    on_fake = NonSaturating(a).d_loss(elsewhere, here)
    (slope,) = gradient(share * on_real + (1 - share) * on_fake, here)
    assert slope == pytest.approx([0.0], abs=1e-12)  # of a convex function, so a minimum


@pytest.mark.parametrize("label", [0.0, 1.1, float("nan")])
def test_smoothing_label_is_checked(label):
    with pytest.raises(ConfigError, match="real_label"):
        NonSaturating(label)


def test_relativistic_pairing_compares_each_real_with_its_fake():
    real, fake = output(0.7, -1.2), output(2.0, -8.0)
    objective = RelativisticPairing()
    assert objective.needs_real_in_g
    d_loss, g_loss = objective.d_loss(real, fake), objective.g_loss(fake, real)
    margins = [0.7 - 2.0, -1.2 + 8.0]
    by_hand = -sum(math.log(sigmoid(margin)) for margin in margins) / 2
    assert d_loss.item() == pytest.approx(by_hand, rel=1e-12)
    by_hand = -sum(math.log(sigmoid(-margin)) for margin in margins) / 2
    assert g_loss.item() == pytest.approx(by_hand, rel=1e-12)
    on_real, on_fake = gradient(d_loss, real, fake)
    slopes = [sigmoid(-margin) / 2 for margin in margins]
    assert on_real == pytest.approx([-slope for slope in slopes], rel=1e-12)
    assert on_fake == pytest.approx(slopes, rel=1e-12)
    (on_fake,) = gradient(g_loss, fake)
    assert on_fake == pytest.approx([-sigmoid(margin) / 2 for margin in margins], rel=1e-12)


def test_relativistic_pairing_does_not_see_a_common_shift():
    real, fake = output(0.7, -1.2), output(2.0, -8.0)
    shifted = [DiscriminatorOutput(o.logits + 100, {}) for o in (real, fake)]
    loss = RelativisticPairing().d_loss
    assert loss(*shifted).item() == pytest.approx(loss(real, fake).item(), rel=1e-12)


def test_margins_are_above_0_where_d_is_right():
    real, fake = output(3.0, -1.0), output(1.0, -2.0)
    for objective in (NonSaturating(), Minimax()):
        assert [m.flatten().tolist() for m in objective.margins(real, fake)] == [[3, -1], [-1, 2]]
    shifted = output(53.0, 49.0), output(51.0, 48.0)  # no threshold tells these apart
    for pair in ((real, fake), shifted):
        margins = RelativisticPairing().margins(*pair)
        assert [m.flatten().tolist() for m in margins] == [[2, 1], [2, 1]]


def test_relativistic_pairing_is_twice_differentiable():
    real, fake = (torch.randn(4, 1, dtype=torch.float64, requires_grad=True) for _ in range(2))

    def loss(real, fake):
        outputs = DiscriminatorOutput(real, {}), DiscriminatorOutput(fake, {})
        return RelativisticPairing().d_loss(*outputs)

    assert torch.autograd.gradcheck(loss, (real, fake))
    assert torch.autograd.gradgradcheck(loss, (real, fake))


def test_relativistic_pairing_needs_pairs():
    with pytest.raises(ValueError, match="as many logits of reals as of fakes"):
        RelativisticPairing().d_loss(output(1.0, 2.0), output(1.0))
    with pytest.raises(ValueError, match="needs the logits of reals"):
        RelativisticPairing().g_loss(output(1.0), None)
