"""The CUDA kernels of spectral_norm, run on the CPU by the emulator, against the specification."""

import ctypes
import functools
import math
from dataclasses import dataclass, fields

import pytest
import torch
from torch import Tensor

from fastgan import reference
from tests.emulation import build
from tests.tolerances import DTYPES, assert_close_to_exact

EPS = 1e-12
GUARD = 16  # elements before and after each result that no kernel may write

# (shape, dim): several panels, chunks and row blocks; ragged; aligned; convolutions; transposed
# convolutions; one row, one column, one element.
WEIGHTS = [
    ((33, 260), 0),
    ((9, 131), 0),
    ((5, 3, 3, 3), 0),
    ((12, 9, 3, 3), 1),
    ((40, 11), 1),
    ((1, 700), 0),
    ((70, 1), 0),
    ((7,), 0),
    ((1,), 0),
]
POINTER, COUNT = ctypes.c_void_p, ctypes.c_int64
BLOCKS = [(name, COUNT) for name in ("outer", "rows", "inner", "panels", "row_blocks", "chunks")]
FORWARD = ("weight", "u", "normalized", "u_new", "v", "sigma", "right", "left")
GRAD = ("grad", "grad_sigma", "weight", "sigma", "u", "v", "result", "parts")


class Layer(ctypes.Structure):
    """csrc/cuda/spectral_norm_layers.cuh"""

    _fields_ = (*((name, POINTER) for name in FORWARD), *BLOCKS)


class GradLayer(ctypes.Structure):
    """csrc/cuda/spectral_norm_layers.cuh"""

    _fields_ = (*((name, POINTER) for name in GRAD), *BLOCKS)


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(str(build.library("capi_spectral_norm.cpp")))


class Room:
    """Results between guards."""

    def __init__(self, numel: int, dtype: torch.dtype) -> None:
        self.memory = torch.full((numel + 2 * GUARD,), 77.0, dtype=dtype)
        self.value = self.memory[GUARD : GUARD + numel]
        self.value.fill_(torch.nan)

    def check(self) -> None:
        assert (self.memory[:GUARD] == 77).all()
        assert (self.memory[GUARD + self.value.numel() :] == 77).all()


@dataclass
class Forward:
    normalized: Room
    u_new: Room
    v: Room
    sigma: Room

    def check(self) -> list[Tensor]:
        rooms = [getattr(self, field.name) for field in fields(self)]
        for room in rooms:
            room.check()
        return [room.value for room in rooms]


def matrix_of(weight: Tensor, dim: int) -> tuple[int, int, int]:
    """[outer][rows][inner] of a dense weight in memory order."""
    rows = weight.shape[dim]
    cols = math.prod(size for i, size in enumerate(weight.shape) if i != dim)
    if rows <= 1 or cols == 0:
        return 1, rows, cols
    return cols // weight.stride(dim), rows, weight.stride(dim)


def function(name: str, dtype: torch.dtype):
    return getattr(_library(), f"{name}_{str(dtype)[6:]}")


def pointers(tensors: list[Tensor]) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def forward(weights, us, dims, n_power_iterations=1, grouped=True):
    """(normalized, u_new, v, sigma) of each weight, flat and in memory order, and the number of
    launches."""
    dtype = weights[0].dtype
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    layers, results, workspace = (Layer * len(weights))(), [], []
    for i, (weight, u, dim) in enumerate(zip(weights, us, dims, strict=True)):
        outer, rows, inner = matrix_of(weight, dim)
        sizes = (weight.numel(), rows, outer * inner, 1)
        results.append(Forward(*(Room(size, dtype) for size in sizes)))
        workspace += [torch.full((n,), torch.nan, dtype=wide) for n in (outer * inner, rows)]
        outputs = [getattr(results[-1], name).value for name in ("normalized", "u_new", "v")]
        tensors = [weight, u, *outputs, results[-1].sigma.value, *workspace[-2:]]
        layers[i] = Layer(*pointers(tensors), outer, rows, inner)
    call = function("spectral_norm", dtype)
    launches = call(layers, len(layers), grouped, n_power_iterations, ctypes.c_double(EPS))
    return [result.check() for result in results], launches


def gradient(grads, grad_sigmas, weights, sigmas, us, vs, dims, grouped=True):
    """The gradient of each weight, flat and in memory order, and the number of launches."""
    dtype = weights[0].dtype
    chunks = function("chunks", dtype)
    chunks.restype, chunks.argtypes = ctypes.c_longlong, [ctypes.c_longlong]
    layers, results, parts = (GradLayer * len(weights))(), [], []
    for i, weight in enumerate(weights):
        results.append(Room(weight.numel(), dtype))
        parts.append(torch.full((chunks(weight.numel()),), torch.nan, dtype=torch.float64))
        inputs = [grads[i], grad_sigmas[i], weight, sigmas[i], us[i], vs[i]]
        tensors = [*inputs, results[i].value, parts[i]]
        layers[i] = GradLayer(*pointers(tensors), *matrix_of(weight, dims[i]))
    launches = function("spectral_norm_grad", dtype)(layers, len(layers), grouped)
    for room in results:
        room.check()
    return [room.value for room in results], launches


def inputs(dtype: torch.dtype, seed: int = 5):
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(shape, generator=generator).to(dtype) for shape, _ in WEIGHTS]
    us = [torch.randn(shape[dim], generator=generator).to(dtype) for shape, dim in WEIGHTS]
    return weights, us, [dim for _, dim in WEIGHTS]


def right_vector(weight: Tensor, u: Tensor, dim: int, iterations: int) -> Tensor:
    """v of the specification, which returns only u."""
    if iterations > 1:
        u = specification(weight, u, dim, iterations - 1)[2]
    folded = weight.unsqueeze(-1) if weight.ndim == 1 else weight.movedim(dim, 0)
    v = folded.flatten(1).t() @ u
    return v / v.norm().clamp_min(EPS)


def specification(weight, u, dim, iterations):
    return reference.spectral_norm(weight, u, n_power_iterations=iterations, eps=EPS, dim=dim)


def check(results, weights, us, dims, iterations):
    for (normalized, u_new, v, sigma), weight, u, dim in zip(
        results, weights, us, dims, strict=True
    ):
        ours = (normalized.view(weight.shape), sigma[0], u_new, v)
        call = (dim, iterations)
        exact = specification(weight.double(), u.double(), *call)
        exact = (*exact, right_vector(weight.double(), u.double(), *call))
        rounded = (*specification(weight, u, *call), right_vector(weight, u, *call))
        for a, b, c in zip(ours, rounded, exact, strict=True):
            assert_close_to_exact(a, b, c)


@pytest.mark.parametrize("iterations", [0, 1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_group_matches_the_specification(thread_order, dtype, iterations):
    weights, us, dims = inputs(dtype)
    results, launches = forward(weights, us, dims, iterations)
    check(results, weights, us, dims, iterations)
    assert launches == (2 if iterations == 0 else 1 + 2 * iterations)


@pytest.mark.parametrize("case", WEIGHTS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_alone_is_the_same_bits_as_in_a_group(dtype, case):
    group = inputs(dtype)
    together, _ = forward(*group)
    i = WEIGHTS.index(case)
    weights, us, dims = ([values[i]] for values in group)
    alone, launches = forward(weights, us, dims, grouped=False)
    check(alone, weights, us, dims, 1)
    assert launches == 3
    assert all(torch.equal(a, b) for a, b in zip(alone[0], together[i], strict=True))


def test_bits_do_not_depend_on_the_order_of_threads(monkeypatch):
    bits = []
    for order in ("fwd", "rev", "1", "2"):
        monkeypatch.setenv("CUDA_SHIM_ORDER", order)
        results, _ = forward(*inputs(torch.float32), n_power_iterations=2)
        bits.append(torch.cat([value for result in results for value in result]))
    assert all(torch.equal(bits[0], other) for other in bits[1:])


def test_channels_last_weights_have_their_columns_in_memory_order():
    weight, u = torch.randn(6, 5, 3, 3), torch.randn(6)
    permuted = weight.contiguous(memory_format=torch.channels_last)
    ((normalized, u_new, v, sigma),), _ = forward([permuted], [u], [0])
    by_columns = v.view(3, 3, 5).permute(2, 0, 1).reshape(-1)
    ours = normalized.view(6, 3, 3, 5).permute(0, 3, 1, 2).contiguous().view(-1)
    check([[ours, u_new, by_columns, sigma]], [weight], [u], [0], 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_unaligned_weights(dtype):
    memory = torch.randn(6 * 64 + 1).to(dtype)
    weight, u = memory[1:].view(6, 64), torch.randn(6).to(dtype)
    check(forward([weight], [u], [0])[0], [weight], [u], [0], 1)


def test_zero_weight_shows():
    ((normalized, u_new, v, sigma),), _ = forward([torch.zeros(8, 64)], [torch.ones(8)], [0])
    assert normalized.isnan().all()
    assert sigma[0] == 0
    assert (u_new == 0).all()
    assert (v == 0).all()


def test_empty_weights_in_a_group():
    weights = [torch.empty(4, 0), torch.randn(5, 6), torch.empty(0, 3), torch.empty(2, 0)]
    us = [torch.ones(4), torch.ones(5), torch.ones(0), torch.ones(2)]
    results, _ = forward(weights, us, [0, 0, 0, 0])
    check(results[1:2], weights[1:2], us[1:2], [0], 1)
    for normalized, u_new, v, sigma in (results[0], results[2], results[3]):
        assert normalized.numel() == 0
        assert sigma[0] == 0
        assert (u_new == 0).all()
        assert (v == 0).all()


def formula(grad, grad_sigma, weight, sigma, u, v, dim):
    """The first gradient as fastgan.ops.spectral_norm states it."""
    along = (grad * weight).sum() / sigma / sigma
    # u v^T, folded back into the shape of the weight.
    others = [size for i, size in enumerate(weight.shape) if i != dim]
    product = torch.outer(u, v).view(u.shape[0], *others).movedim(0, dim)
    return grad / sigma + (grad_sigma - along) * product


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_matches_its_formula(thread_order, dtype):
    weights, us, dims = inputs(dtype)
    grads, _, _ = inputs(dtype, seed=6)
    rounded = [specification(w, u, dim, 1) for w, u, dim in zip(weights, us, dims, strict=True)]
    sigmas, us_new = [r[1].reshape(1) for r in rounded], [r[2] for r in rounded]
    vs = [right_vector(w, u, dim, 1) for w, u, dim in zip(weights, us, dims, strict=True)]
    grad_sigmas = [torch.tensor([0.5]).to(dtype) for _ in weights]
    columns = (grads, grad_sigmas, weights, sigmas, us_new, vs)
    results, launches = gradient(*columns, dims)
    assert launches == 2
    for i, (ours, *call) in enumerate(zip(results, *columns, strict=True)):
        exact = formula(*(tensor.double() for tensor in call), dims[i])
        assert_close_to_exact(ours.view(weights[i].shape), formula(*call, dims[i]), exact)
        alone, _ = gradient(*([tensor] for tensor in call), dims[i : i + 1], grouped=False)
        assert torch.equal(alone[0], ours)


def test_gradient_through_sigma_is_that_of_the_specification():
    for (shape, dim), seed in zip(WEIGHTS, range(len(WEIGHTS)), strict=True):
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        u = torch.randn(shape[dim], generator=generator, dtype=torch.float64)
        grad = torch.randn(shape, generator=generator, dtype=torch.float64)
        grad_sigma = torch.randn(1, generator=generator, dtype=torch.float64)
        normalized, sigma, _ = specification(weight, u, dim, 1)
        (expected,) = torch.autograd.grad([normalized, sigma], weight, [grad, grad_sigma[0]])
        ((_, u_new, v, sigma),), _ = forward([weight.detach()], [u], [dim])
        (ours,), _ = gradient([grad], [grad_sigma], [weight], [sigma], [u_new], [v], [dim])
        torch.testing.assert_close(ours.view(shape), expected)
