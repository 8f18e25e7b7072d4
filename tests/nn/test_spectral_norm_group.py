"""spectral_norm_group: what a network gives inside the block is what it gives without it, and
inside, one call serves all layers."""

import copy
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fastgan import ops
from fastgan.networks import DCGANDiscriminator
from fastgan.nn import spectral_norm, spectral_norm_group
from tests.spectral_norm_kernels import SERVED, install

X = torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)


@pytest.fixture(params=SERVED)
def served(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Backends without kernels for groups, and one with them."""
    return install(request.param, monkeypatch)


def critic(**options: Any) -> nn.Sequential:
    layers: list[nn.Module] = [
        spectral_norm(nn.Conv2d(3, 4, 3, 2, 1), **options),
        nn.LeakyReLU(0.1),
        spectral_norm(nn.ConvTranspose2d(4, 3, 4, 2, 1), **options),
        nn.Conv2d(3, 2, 1),
        nn.Flatten(),
        spectral_norm(nn.Linear(2 * 64, 1), **options),
    ]
    return nn.Sequential(*layers)


def state_of(module: nn.Module) -> list[Tensor]:
    """Parameters, gradients and buffers."""
    grads = [torch.zeros(()) if p.grad is None else p.grad for p in module.parameters()]
    return [*module.state_dict().values(), *grads]


def assert_same(one: nn.Module, two: nn.Module) -> None:
    assert all(torch.equal(a, b) for a, b in zip(state_of(one), state_of(two), strict=True))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of weights of each call of the op; 1 for those of spectral_norm itself."""
    found: list[int] = []
    alone, together = ops.spectral_norm, ops.spectral_norm_group

    def one(*args: Any, **kwargs: Any) -> Any:
        found.append(1)
        return alone(*args, **kwargs)

    def many(weights: list[Tensor], *args: Any, **kwargs: Any) -> Any:
        found.append(len(weights))
        return together(weights, *args, **kwargs)

    monkeypatch.setattr(ops, "spectral_norm", one)
    monkeypatch.setattr(ops, "spectral_norm_group", many)
    return found


def train(module: nn.Module) -> None:
    """Two forwards in one backward, a step, a penalty of second order, a forward in eval mode."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    (module(X).square().mean() - module(-X).mean()).backward()
    optimizer.step()
    x = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(module(x).sum(), x, create_graph=True)
    slope.square().sum().backward()
    optimizer.step()
    module.eval()
    module(X).sum().backward()
    with torch.no_grad():
        module.train()(X)


@pytest.mark.parametrize("options", [{}, {"n_power_iterations": 3, "eps": 0.5}], ids=str)
def test_training_is_the_same(options: dict[str, Any], served: str, calls: list[int]) -> None:
    module = critic(**options, backend=served)
    twin = copy.deepcopy(module)
    train(twin)
    calls.clear()
    with spectral_norm_group(module):
        train(module)
    assert_same(module, twin)
    assert calls == [3] * 5


def in_pieces(module: nn.Module) -> None:
    """A backward, and a change of a weight, between the uses of two layers."""
    first, last = module[0], module[5]
    first(X).sum().backward()
    last(torch.ones(1, 128)).sum().backward()
    last.parametrizations.weight.original.data = torch.ones(1, 128)
    first(X).sum().backward()
    with torch.no_grad():
        first.parametrizations.weight.original.mul_(3)
        last(torch.ones(1, 128))
    last(torch.ones(1, 128)).sum().backward()


def modes_change(module: nn.Module) -> None:
    """Results that were computed for another mode."""
    module[0](X)
    module.eval()
    module[2](torch.ones(1, 4, 2, 2)).sum().backward()
    module.train()
    with torch.no_grad():
        module[5](torch.ones(1, 128))
    module[5](torch.ones(1, 128)).sum().backward()
    with torch.inference_mode():
        module[0](X)
    module(X).sum().backward()


def some_frozen(module: nn.Module) -> None:
    module[2].requires_grad_(False)
    module(X).sum().backward()
    assert not module[2].weight.requires_grad
    module.requires_grad_(False)
    assert not module(X).requires_grad


def tied(module: nn.Module) -> None:
    """One layer used twice, another not at all."""
    y = module[5](torch.ones(1, 128)) + module[5](torch.ones(2, 128))
    y.sum().backward()
    module[0](X).sum().backward()


def swapped(module: nn.Module) -> None:
    """A loaded state, another precision, an assigned weight, other parameters for one call."""
    module(X)
    module[0](X)
    module.load_state_dict({name: value * 0.9 for name, value in module.state_dict().items()})
    module(X).sum().backward()
    module[5].weight = torch.full((1, 128), 0.3)
    module(X).sum().backward()
    module.double()
    module(X.double()).sum().backward()
    other = {name: p.detach() * 2 for name, p in module.named_parameters()}
    torch.func.functional_call(module, other, X.double())


@pytest.mark.parametrize("use", [in_pieces, modes_change, some_frozen, tied, swapped])
def test_what_holds_no_longer_is_not_used(use: Callable[[nn.Module], None], served: str) -> None:
    module = critic(backend=served)
    twin = copy.deepcopy(module)
    use(twin)
    with spectral_norm_group(module):
        use(module)
    assert_same(module, twin)


class Checkpointed(nn.Module):
    """A network that checkpoints a part of itself, or begins a block inside a checkpoint."""

    def __init__(self, body: nn.Sequential, part: int, reentrant: bool) -> None:
        super().__init__()
        self.body, self.part, self.reentrant = body, part, reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = checkpoint(self.body[: self.part], x, use_reentrant=self.reentrant)
        rest: Tensor = self.body[self.part :](x)
        return rest


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("part", [2, 6])
@pytest.mark.parametrize("backward_inside", [False, True])
def test_checkpoints_in_the_block(
    part: int, reentrant: bool, backward_inside: bool, served: str
) -> None:
    module = Checkpointed(critic(backend=served), part, reentrant)
    twin = copy.deepcopy(module)
    twin(X.clone().requires_grad_()).sum().backward()
    with spectral_norm_group(module):
        y = module(X.clone().requires_grad_())
        if backward_inside:
            y.sum().backward()
    if not backward_inside:
        y.sum().backward()
    assert_same(module, twin)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_block_in_a_checkpoint(reentrant: bool, calls: list[int]) -> None:
    network = DCGANDiscriminator(img_resolution=16, channels=2, spectral_norm=True)
    x = torch.randn(2, 3, 16, 16, requires_grad=True)
    twin, calls[:] = copy.deepcopy(network), []
    checkpoint(lambda x: network(x).logits, x, use_reentrant=reentrant).sum().backward()
    assert calls == [3, 3]
    for _ in range(2):  # the recomputation counts as a forward
        twin(x)
    for one, two in zip(twin.buffers(), network.buffers(), strict=True):
        assert torch.equal(one, two)


def test_blocks_nest_and_end(calls: list[int]) -> None:
    module, other = critic(), critic()
    calls.clear()
    with spectral_norm_group(module), spectral_norm_group(other):
        module(X)
        other(X)
        with spectral_norm_group(module[:3]):
            module(X)
        with pytest.raises(KeyError), spectral_norm_group(other):
            raise KeyError
        other(X)
    assert calls == [3, 3, 2, 3, 3]
    calls.clear()
    module(X)
    assert calls == [1, 1, 1]


def test_networks_without_normalised_weights_and_other_threads(calls: list[int]) -> None:
    plain, module = nn.Linear(2, 2), critic()
    calls.clear()
    with spectral_norm_group(plain), spectral_norm_group(module):
        plain(torch.zeros(1, 2))
        thread = threading.Thread(target=module, args=(X,))
        thread.start()
        thread.join()
    assert calls == [1, 1, 1]


def test_compiled_networks_and_functorch(calls: list[int]) -> None:
    module = critic()
    twin = copy.deepcopy(module)
    calls.clear()
    with spectral_norm_group(module):
        compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
        compiled(X).sum().backward()
        torch.func.vmap(module.eval())(X[None])
    assert 3 not in calls
    twin(X).sum().backward()
    torch.testing.assert_close(state_of(module), state_of(twin))


def test_dcgan_compiles_with_its_block() -> None:
    network = DCGANDiscriminator(img_resolution=16, channels=2, spectral_norm=True)
    twin, x = copy.deepcopy(network), torch.randn(2, 3, 16, 16)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x).logits, twin(x).logits)


@pytest.mark.parametrize("training", [True, False])
def test_dcgan_computes_its_weights_in_one_call(training: bool, calls: list[int]) -> None:
    network = DCGANDiscriminator(img_resolution=32, channels=2, spectral_norm=True).train(training)
    twin, x = copy.deepcopy(network), torch.randn(2, 3, 32, 32)
    calls.clear()
    logits = network(x).logits
    assert calls == [4]
    assert torch.equal(logits, twin._judge(x).logits)
