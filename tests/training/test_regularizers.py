import pytest
import torch
from torch import nn

from fastgan.errors import CheckpointError, ConfigError
from fastgan.networks import DiscriminatorOutput
from fastgan.training import (
    R1,
    R2,
    Conditioning,
    Draws,
    Edge,
    Generated,
    Generation,
    NonSaturating,
    PathLength,
    Player,
    RelativisticPairing,
    Sampler,
    StepContext,
    TrainingRecipe,
    adam,
)

F64 = torch.float64


class Quadratic(nn.Module):
    """D(x) = x^T A x, whose gradient is 2 A x."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, x, c=None):
        x = x.flatten(1)
        return DiscriminatorOutput(((x @ self.matrix) * x).sum(1, keepdim=True), {})


class Linear(nn.Module):
    """G(w) = A w as an image of 2 x 3 pixels; w comes in two layers, of which both count."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = nn.Parameter(matrix)  # [6, 4]

    def forward(self, ws):
        return (ws.sum(dim=1) @ self.matrix.t()).reshape(-1, 1, 2, 3)


class Layered(Generation):
    def train(self, net, ctx, edge):
        z = ctx.generator_input(edge)
        ws = torch.stack([z, z], dim=1).requires_grad_()  # [N, 2, 4]
        return Generated(net(ws), ws)


def context(side, d, g, real, batch=5):
    recipe = TrainingRecipe(
        players={
            "d": Player({"D": d}, adam(1e-3, (0.0, 0.99))),
            "g": Player({"G": g}, adam(1e-3, (0.0, 0.99))),
        },
        edges=(Edge("G", "D"),),
        objective=NonSaturating(),
        sampler=Sampler(4, None),
        generation=Layered(),
        conditioning=Conditioning(),
    )
    draws = Draws(0, 0, side, batch, dtype=F64)
    data = lambda: (real, torch.zeros(len(real), 0))  # noqa: E731
    return StepContext(recipe, {"D": d, "G": g}, side, draws, data, needs_input_grad=True)


@pytest.fixture
def symmetric():
    a = torch.randn(6, 6, dtype=F64)
    return a + a.t()


@pytest.fixture
def matrix():
    return torch.randn(6, 4, dtype=F64)


def test_r1_of_a_quadratic_discriminator(symmetric, matrix):
    real = torch.randn(5, 1, 2, 3, dtype=F64)
    d = Quadratic(symmetric)
    penalty = R1(gamma=0.6)(context("d", d, Linear(matrix), real))
    along = 2 * real.flatten(1) @ symmetric
    assert penalty.item() == pytest.approx(0.3 * float(along.square().sum(1).mean()), rel=1e-12)
    # d/dA of gamma/2 mean |2 A x|^2, the second-order part that a detached gradient would lose
    (gradient,) = torch.autograd.grad(penalty, d.matrix)
    x = real.flatten(1)
    expected = 0.3 * 2 * (along.t() @ x + x.t() @ along) / 5
    assert torch.allclose(gradient, expected, rtol=1e-10)


def test_r2_is_the_same_at_fakes(symmetric, matrix):
    d = Quadratic(symmetric)
    ctx = context("d", d, Linear(matrix), torch.zeros(5, 1, 2, 3, dtype=F64))
    penalty = R2(gamma=0.6)(ctx)
    fakes = ctx.fake(ctx.edges[0]).detach().flatten(1)
    along = 2 * fakes @ symmetric
    assert penalty.item() == pytest.approx(0.3 * float(along.square().sum(1).mean()), rel=1e-12)
    (gradient,) = torch.autograd.grad(penalty, d.matrix)
    expected = 0.3 * 2 * (along.t() @ fakes + fakes.t() @ along) / 5
    assert torch.allclose(gradient, expected, rtol=1e-12)


def test_r1_shares_the_forward_pass_of_the_objective(symmetric, matrix):
    calls = []
    d = Quadratic(symmetric)
    d.register_forward_hook(lambda *_: calls.append(1))
    ctx = context("d", d, Linear(matrix), torch.randn(5, 6, dtype=F64))
    ctx.d_real(ctx.edges[0])
    R1(1.0)(ctx)
    assert len(calls) == 1


def test_path_length_of_a_linear_generator(symmetric, matrix):
    """J^T y is A^T y for both layers, so the length is |A^T y|; y is known from the draws."""
    ctx = context("g", Quadratic(symmetric), Linear(matrix), torch.zeros(5, 6))
    regularizer = PathLength(weight=3.0, decay=0.25)
    regularizer.mean_length.fill_(0.5)
    penalty = regularizer(ctx)
    y = ctx.draws.scoped("G").normal("path_length", (1, 2, 3)).flatten(1) / 6**0.5
    lengths = (y @ matrix).norm(dim=1)
    assert penalty.item() == pytest.approx(3 * float((lengths - 0.5).square().mean()), rel=1e-12)
    assert regularizer.mean_length == 0.5  # moves only after the update
    regularizer.after_update(ctx.recorded)
    assert float(regularizer.mean_length) == pytest.approx(0.375 + 0.25 * float(lengths.mean()))


def test_path_length_gradient_is_that_of_the_whole_law(symmetric, matrix):
    g = Linear(matrix.clone())
    ctx = context("g", Quadratic(symmetric), g, torch.zeros(5, 6))
    (gradient,) = torch.autograd.grad(PathLength(weight=2.0)(ctx), g.matrix)
    y = ctx.draws.scoped("G").normal("path_length", (1, 2, 3)).flatten(1) / 6**0.5
    a = matrix.clone().requires_grad_()
    (expected,) = torch.autograd.grad(2 * (y @ a).square().sum(1).mean(), a)
    assert torch.allclose(gradient, expected, rtol=1e-10)


def test_path_length_needs_latents(symmetric, matrix):
    ctx = context("g", Quadratic(symmetric), nn.Linear(4, 6).double(), torch.zeros(5, 6))
    object.__setattr__(ctx.recipe, "generation", Generation())
    ctx.nets["G"].forward = lambda z, c=None: nn.functional.linear(z, matrix)
    with pytest.raises(ValueError, match="no intermediate latents"):
        PathLength()(ctx)


def test_only_laziness_gives_a_penalty_its_own_update():
    assert not R1(1.0).is_lazy
    assert R1(1.0, every=16).is_lazy
    assert PathLength(every=1, batch_shrink=2).is_lazy
    assert not PathLength(every=1, batch_shrink=1).is_lazy


def test_regularizer_state_is_checked():
    state = PathLength().state_dict()
    PathLength().load_state_dict(state)
    with pytest.raises(CheckpointError, match="mean_length"):
        PathLength().load_state_dict({})
    with pytest.raises(CheckpointError, match="keeps no state"):
        R1(1.0).load_state_dict(state)


@pytest.mark.parametrize(
    "make", [lambda: R1(-1.0), lambda: R1(1.0, 0), lambda: PathLength(decay=0.0)]
)
def test_regularizer_settings_are_checked(make):
    with pytest.raises(ConfigError):
        make()


def test_relativistic_pairing_with_r1_and_r2_of_a_linear_discriminator(matrix):
    """D(x) = a.x has the gradient a everywhere: R1 = R2 = gamma/2 |a|^2, whose gradient is gamma a,
    and the game's is -mean sigmoid(-(a.x - a.G(z))) (x - G(z)) by hand."""

    class Linear1(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.linspace(-1, 1, 6, dtype=F64))

        def forward(self, x, c=None):
            return DiscriminatorOutput((x.flatten(1) @ self.a)[:, None], {})

    d, real = Linear1(), torch.randn(5, 1, 2, 3, dtype=F64)
    ctx = context("d", d, Linear(matrix), real)
    (edge,) = ctx.edges
    total = RelativisticPairing().d_loss(ctx.d_real(edge), ctx.d_fake(edge))
    total = total + R1(0.6)(ctx) + R2(0.2)(ctx)
    (gradient,) = torch.autograd.grad(total, d.a)
    a, difference = d.a.detach(), (real - ctx.fake(edge).detach()).flatten(1)
    game = -(torch.sigmoid(-(difference @ a))[:, None] * difference).mean(0)
    assert torch.allclose(gradient, game + 0.6 * a + 0.2 * a, rtol=1e-12)


def test_a_schedule_scales_the_penalty_with_progress(symmetric, matrix):
    real = torch.randn(5, 1, 2, 3, dtype=F64)
    values = {}
    for progress in (0.0, 0.25, 1.0):
        ctx = context("d", Quadratic(symmetric), Linear(matrix), real)
        ctx.progress = progress
        penalties = (R1(0.6, schedule=lambda t: 1 - t / 2), R2(0.6, schedule=lambda t: 1 - t / 2))
        values[progress] = torch.stack([penalty(ctx).detach() for penalty in penalties])
    assert torch.allclose(values[0.25], 0.875 * values[0.0], rtol=1e-12)
    assert torch.allclose(values[1.0], 0.5 * values[0.0], rtol=1e-12)
