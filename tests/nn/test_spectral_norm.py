"""The spectral_norm module: training, evaluation, copies, state dicts, precision, processes."""

import copy
import io
import os
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from fastgan.nn import remove_spectral_norm, spectral_norm

MODULES = {
    "conv": (lambda: nn.Conv2d(4, 6, 3), 0, (2, 4, 5, 5)),
    "conv_transpose": (lambda: nn.ConvTranspose2d(4, 6, 3), 1, (2, 4, 5, 5)),
    "linear": (lambda: nn.Linear(4, 6), 0, (2, 4)),
    "embedding": (lambda: nn.Embedding(6, 4), 0, None),
}


def example(name: str) -> tuple[nn.Module, Tensor, int]:
    """A normalised module, an input for it, and its output dimension."""
    make, dim, shape = MODULES[name]
    module = make()
    if shape is None:
        return spectral_norm(module), torch.tensor([0, 3, 3, 5]), dim
    return spectral_norm(module), torch.randn(shape), dim


def critic() -> nn.Sequential:
    layers = [spectral_norm(nn.Conv2d(3, 8, 3)), nn.LeakyReLU(0.1), nn.Flatten()]
    return nn.Sequential(*layers, spectral_norm(nn.Linear(8 * 4, 1)))


def u_of(module: nn.Module) -> Tensor:
    return module.get_buffer("parametrizations.weight.0._u")


def original(module: nn.Module) -> nn.Parameter:
    return module.get_parameter("parametrizations.weight.original")


def largest(weight: Tensor, dim: int) -> Tensor:
    rows = torch.stack([weight.select(dim, i).reshape(-1) for i in range(weight.shape[dim])])
    return torch.linalg.svdvals(rows.detach().double())[0]


@pytest.mark.parametrize("name", list(MODULES))
def test_hundred_forwards_reach_the_singular_value(name: str) -> None:
    module, x, dim = example(name)
    with torch.no_grad():
        original(module).copy_(torch.randn_like(original(module)))
    for _ in range(100):
        module(x)
    module.eval()
    assert largest(module.weight, dim).item() == pytest.approx(1, rel=1e-3)
    sigma = (original(module) / module.weight).median()
    assert sigma.item() == pytest.approx(largest(original(module), dim).item(), rel=1e-3)


@pytest.mark.parametrize("name", list(MODULES))
def test_trains_through_sigma(name: str) -> None:
    """The normalised weight does not change with the scale of the stored one, so the gradient is
    orthogonal to it: it would not be if sigma were a constant."""
    module, x, _ = example(name)
    module(x).square().sum().backward()
    gradient = original(module).grad
    assert gradient is not None
    assert gradient.norm() > 0.1
    assert abs((gradient * original(module)).sum().item()) < 1e-4 * gradient.norm().item()


@pytest.mark.parametrize("name", list(MODULES))
def test_u_moves_in_training_and_not_in_evaluation(name: str) -> None:
    module, x, _ = example(name)
    with torch.no_grad():
        original(module).copy_(torch.randn_like(original(module)))
    before = u_of(module).clone()
    module.eval()
    first = module(x)
    assert torch.equal(module(x), first)
    assert torch.equal(u_of(module), before)
    module.train()
    module(x)
    assert not torch.equal(u_of(module), before)
    assert u_of(module).norm().item() == pytest.approx(1)


def test_registration_leaves_a_sound_sigma() -> None:
    assert largest(spectral_norm(nn.Linear(30, 20)).eval().weight, 0) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("name", list(MODULES))
def test_deepcopy_is_independent_and_equal(name: str) -> None:
    module, x, _ = example(name)
    twin = copy.deepcopy(module)
    assert torch.equal(twin(x), module(x))
    assert torch.equal(u_of(twin), u_of(module))
    with torch.no_grad():
        original(twin).mul_(0)
    module(x)
    assert not torch.equal(u_of(twin), u_of(module))
    assert original(module).abs().sum() > 0


@pytest.mark.parametrize("name", list(MODULES))
def test_state_dict_round_trip(name: str) -> None:
    module, x, _ = example(name)
    module(x)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other, _, _ = example(name)
    result = other.load_state_dict(torch.load(file))
    assert not result.missing_keys
    assert torch.equal(other(x), module(x))  # training mode: u was restored too
    expected = {"parametrizations.weight.original", "parametrizations.weight.0._u"}
    assert expected == {key for key in module.state_dict() if "bias" not in key}


def test_loads_the_state_of_torchs_own() -> None:
    theirs = parametrizations.spectral_norm(nn.Conv2d(3, 5, 3), n_power_iterations=50).eval()
    ours = spectral_norm(nn.Conv2d(3, 5, 3))
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours.eval().weight, theirs.weight)


def test_follows_torchs_own_through_training() -> None:
    """Same start, same data: after steps with converged u both have the same weights."""
    torch.manual_seed(1)
    ours = spectral_norm(nn.Linear(6, 5), n_power_iterations=60).double()
    theirs = parametrizations.spectral_norm(nn.Linear(6, 5), n_power_iterations=60).double()
    with torch.no_grad():
        original(theirs).copy_(original(ours))
        theirs.bias.copy_(ours.bias)
    x = torch.randn(8, 6, dtype=torch.float64)
    for module in (ours, theirs):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            (module(x) - 1).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(original(ours), original(theirs), rtol=1e-4, atol=1e-4)


def test_two_forwards_before_one_backward_add_up() -> None:
    """D(real) - D(fake): the second forward moves u, which the first one's graph must not see."""
    module = critic()
    real, fake = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    twin = copy.deepcopy(module)
    (module(real).mean() - module(fake).mean()).backward()
    twin(real).mean().backward()
    (-twin(fake).mean()).backward()
    for one, two in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)


def test_evaluation_between_forward_and_backward() -> None:
    module = critic()
    x = torch.randn(2, 3, 4, 4)
    loss = module.eval()(x).mean() + module.train()(x).mean()
    module(x)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing(use_reentrant: bool) -> None:
    module = critic().double()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    for _ in range(200):  # converged, so that the recomputation's own iteration changes nothing
        module(x)
    twin = copy.deepcopy(module)
    checkpoint(module, x, use_reentrant=use_reentrant).sum().backward()
    twin(x).sum().backward()
    for one, two in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)


def test_second_order_gradient_penalty() -> None:
    module = critic().double()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(module(x).sum(), x, create_graph=True)
    slope.square().sum().backward()
    weight = original(module[0])
    assert weight.grad is not None
    assert abs((weight.grad * weight).sum().item()) < 1e-9 * weight.grad.norm().item()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_changes_of_precision(dtype: torch.dtype) -> None:
    module = spectral_norm(nn.Linear(12, 9))
    exact = copy.deepcopy(module).double().eval()
    module = module.to(dtype)
    module(torch.randn(2, 12).to(dtype)).sum().backward()
    assert module.weight.dtype == u_of(module).dtype == dtype
    torch.testing.assert_close(module.eval().weight.double(), exact.weight, rtol=0.03, atol=0.03)


def test_assigning_a_weight_stores_it() -> None:
    module = spectral_norm(nn.Linear(3, 3), n_power_iterations=40)
    module.weight = torch.diag(torch.tensor([4.0, 2.0, 1.0]))
    assert torch.equal(original(module), torch.diag(torch.tensor([4.0, 2.0, 1.0])))
    torch.testing.assert_close(module.weight, torch.diag(torch.tensor([1.0, 0.5, 0.25])))


@pytest.mark.parametrize("training", [True, False])
def test_removal_leaves_the_normalised_weight(training: bool) -> None:
    module = spectral_norm(nn.Conv2d(3, 5, 3))
    expected = module.eval().weight.detach().clone()
    module.train(training)
    assert remove_spectral_norm(module) is module
    assert isinstance(module.weight, nn.Parameter)
    assert torch.equal(module.weight, expected)
    assert type(module) is nn.Conv2d
    assert set(module.state_dict()) == {"weight", "bias"}


def test_backends_agree(kernel_backend: str) -> None:
    torch.manual_seed(3)
    one = spectral_norm(nn.ConvTranspose2d(4, 6, 3), backend=kernel_backend)
    torch.manual_seed(3)
    two = spectral_norm(nn.ConvTranspose2d(4, 6, 3), backend="reference")
    for _ in range(3):
        torch.testing.assert_close(one.weight, two.weight)


def test_compiles_with_its_buffer() -> None:
    module = spectral_norm(nn.Linear(4, 6))
    twin = copy.deepcopy(module)
    x = torch.randn(2, 4)
    compiled = torch.compile(module, backend="aot_eager")
    for _ in range(2):
        compiled(x).sum().backward()
        twin(x).sum().backward()
    torch.testing.assert_close(u_of(module), u_of(twin))
    torch.testing.assert_close(original(module).grad, original(twin).grad)


def test_wrong_use_says_what_was_expected() -> None:
    with pytest.raises(ValueError, match="no parameter named 'kernel'"):
        spectral_norm(nn.Linear(2, 2), name="kernel")
    with pytest.raises(ValueError, match="no parameter named 'weight'"):
        spectral_norm(nn.ReLU())
    with pytest.raises(ValueError, match="normalised already"):
        spectral_norm(spectral_norm(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="n_power_iterations must be at least 1, got 0"):
        spectral_norm(nn.Linear(2, 2), n_power_iterations=0)
    with pytest.raises(ValueError, match="dim 2 is out of range"):
        spectral_norm(nn.Linear(2, 2), dim=2)
    with pytest.raises(ValueError, match="no shape yet"):
        spectral_norm(nn.LazyLinear(2))
    with pytest.raises(ValueError, match="is not parametrized"):
        remove_spectral_norm(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="one parametrization"):
        remove_spectral_norm(parametrizations.orthogonal(nn.Linear(2, 2)))


def _train_as_one_of_two(rank: int, folder: str) -> None:
    dist.init_process_group(
        "gloo", f"file://{folder}/store", timedelta(minutes=3), world_size=2, rank=rank
    )
    torch.manual_seed(0)
    module = DistributedDataParallel(critic().double())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    batches = torch.randn(3, 2, 4, 3, 4, 4, dtype=torch.float64)
    for real, fake in batches:
        optimizer.zero_grad()
        half = slice(2 * rank, 2 * rank + 2)
        (module(real[half]).mean() - module(fake[half]).mean()).backward()
        optimizer.step()
    torch.save(module.module.state_dict(), os.path.join(folder, f"rank{rank}.pt"))
    dist.barrier()
    os._exit(0)  # tearing gloo down has been seen to hang on a busy machine


def test_two_processes_train_like_one(tmp_path: Path) -> None:
    """Two forwards per step: DistributedDataParallel overwrites u in place before each."""
    spawn = mp.get_context("spawn")
    ranks = [
        spawn.Process(target=_train_as_one_of_two, args=(rank, str(tmp_path)), daemon=True)
        for rank in range(2)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout=180)
    assert [process.exitcode for process in ranks] == [0, 0]
    torch.manual_seed(0)
    module = critic().double()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for real, fake in torch.randn(3, 2, 4, 3, 4, 4, dtype=torch.float64):
        optimizer.zero_grad()
        (module(real).mean() - module(fake).mean()).backward()
        optimizer.step()
    for rank in range(2):
        state = torch.load(tmp_path / f"rank{rank}.pt")
        for name, value in module.state_dict().items():
            torch.testing.assert_close(state[name], value)
