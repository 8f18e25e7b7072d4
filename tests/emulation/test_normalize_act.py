"""The CUDA kernels of normalize_act, run on the CPU, against the specification."""

import ctypes
import functools
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from fastgan import reference
from fastgan.reference.bias_act import ACTIVATIONS
from fastgan.reference.normalize_act import STATISTICS
from tests import cases
from tests.emulation import build
from tests.emulation.emulated import DTYPES, Guarded
from tests.tolerances import assert_close_to_exact

POINTERS = ("grad_y", "x", "weight", "bias", "mean", "var", "out", "to_weight", "to_bias")
# stats, and dimensions of weight and bias: 0 none, 1 per channel, 2 per sample and channel.
KINDS = [("instance", 2, 2), ("instance", 0, 1), ("batch", 1, 1), ("batch", 2, 0), ("layer", 1, 2)]


class Shape(ctypes.Structure):
    """csrc/cuda/normalize_act_kernel.cuh"""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("samples", "channels", "pixels")),
        ("stats", ctypes.c_int),
    )


class Call(ctypes.Structure):
    """capi_normalize_act.cpp"""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in POINTERS),
        ("shape", Shape),
        *((name, ctypes.c_bool) for name in ("weight_of_row", "bias_of_row", "running")),
        ("act", ctypes.c_int),
        *((name, ctypes.c_double) for name in ("eps", "alpha", "gain", "clamp")),
        ("max_blocks", ctypes.c_int64),
    )


@dataclass
class Case:
    """One call. shift: elements from an aligned address to the first."""

    x: Tensor
    stats: str
    weight: Tensor | None = None
    bias: Tensor | None = None
    act: str = "swish"
    clamp: float | None = None
    running: tuple[Tensor, Tensor] | None = None
    shift: int = 0
    max_blocks: int = 1 << 20
    launches: list[int] = field(default_factory=list)


@functools.cache
def library() -> ctypes.CDLL:
    return ctypes.CDLL(str(build.library("capi_normalize_act.cpp")))


def call(case: Case, guarded: Guarded, tensors: dict[str, Tensor | None]) -> None:
    """One launcher, on tensors by the name of the pointer."""
    row, parameters = ACTIVATIONS[case.act], (case.weight, case.bias)
    samples, channels, height, width = case.x.shape
    stats = list(STATISTICS).index(case.stats)
    arguments = Call(
        **{name: t.data_ptr() for name, t in tensors.items() if t is not None},
        shape=Shape(samples, channels, height * width, stats),
        weight_of_row=parameters[0] is not None and parameters[0].ndim == 2,
        bias_of_row=parameters[1] is not None and parameters[1].ndim == 2,
        running=case.running is not None,
        act=list(ACTIVATIONS).index(case.act),
        eps=1e-3,
        alpha=row.default_alpha,
        gain=row.default_gain,
        clamp=-1.0 if case.clamp is None else case.clamp,
        max_blocks=case.max_blocks,
    )
    dtype = DTYPES.index(case.x.dtype)
    case.launches.append(library().emulated_normalize_act(dtype, ctypes.byref(arguments)))
    guarded.check()


def run(case: Case, grad_y: Tensor) -> list[Tensor]:
    """y, grad_x, and the gradients of weight and bias per sample and channel."""
    guarded, x = Guarded(case.shift), case.x
    samples, channels = x.shape[:2]
    groups = {"instance": samples * channels, "batch": channels, "layer": samples}[case.stats]
    wide = torch.promote_types(x.dtype, torch.float32)
    shared: dict[str, Tensor | None] = {"x": guarded.like(x, True)}
    for name in ("weight", "bias"):
        value = getattr(case, name)
        shared[name] = None if value is None else guarded.like(value.to(wide), True)
    for i, name in enumerate(("mean", "var")):
        given = None if case.running is None else case.running[i].to(wide)
        like = torch.empty(groups, dtype=wide) if given is None else given
        shared[name] = guarded.like(like, given is not None)
    y, grad_x = guarded.like(x, False), guarded.like(x, False)
    rows = [guarded.like(torch.empty(samples, channels, dtype=wide), False) for _ in range(2)]
    call(case, guarded, {**shared, "out": y})
    gradients = {"grad_y": guarded.like(grad_y, True), "out": grad_x}
    call(case, guarded, {**shared, **gradients, "to_weight": rows[0], "to_bias": rows[1]})
    return [y, grad_x, *rows]


def specified(case: Case, grad_y: Tensor, double: bool) -> list[Tensor]:
    def typed(value: Tensor) -> Tensor:
        return value.double() if double else value

    x = typed(case.x).detach().requires_grad_()
    wide = torch.promote_types(x.dtype, torch.float32)
    size = x.shape[:2]
    weight = torch.ones(size) if case.weight is None else case.weight
    bias = torch.zeros(size) if case.bias is None else case.bias
    weight, bias = (t.to(wide).expand(size).clone().requires_grad_() for t in (weight, bias))
    running = dict(zip(("mean", "var"), case.running or (), strict=False))
    y = reference.normalize_act(
        x, weight, bias, stats=case.stats, eps=1e-3, act=case.act, clamp=case.clamp, **running
    )
    return [y, *torch.autograd.grad(y, (x, weight, bias), typed(grad_y))]


def compare(x: Tensor, stats: str, weight: int, bias: int, **options) -> None:
    sizes = [(), x.shape[1:2], x.shape[:2]]
    parameters = [torch.randn(sizes[kind]) if kind else None for kind in (weight, bias)]
    case = Case(x, stats, *parameters, **options)
    grad_y = torch.randn(x.shape).to(x.dtype)
    three = run(case, grad_y), specified(case, grad_y, False), specified(case, grad_y, True)
    assert case.launches == [1 if case.running else 2, 2]
    for one, two, exact in zip(*three, strict=True):
        assert_close_to_exact(one, two, exact)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("shape", ["small", "vector_width"])
def test_every_dtype(dtype, kind, shape):
    compare(cases.images(shape, "contiguous", dtype), *kind)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_orders_of_threads(kind, thread_order):
    compare(torch.randn(3, 5, 3, 9), *kind, act="lrelu", clamp=1.0)


@pytest.mark.parametrize("kind", KINDS[::2], ids=str)
@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("size", [(1, 1, 1, 1), (2, 1, 47, 33), (1, 2, 96, 64), (3, 70, 2, 2)])
def test_rows_of_every_length_and_alignment(kind, shift, size):
    compare(torch.randn(size), *kind, shift=shift)


@pytest.mark.parametrize("act", list(ACTIVATIONS))
def test_running_statistics_and_every_activation(act):
    x = cases.images("small", "contiguous", torch.float64)
    compare(x, "batch", 1, 1, act=act, running=(torch.randn(3), torch.rand(3)))


def test_images_far_from_zero_keep_their_digits():
    compare(torch.randn(2, 2, 9, 7) + 3000.0, "instance", 0, 0, act="linear")


@pytest.mark.parametrize("size", [(0, 3, 4, 4), (2, 3, 0, 4), (2, 0, 4, 4)])
def test_empty_images_launch_nothing(size):
    case = Case(torch.empty(size), "batch")
    run(case, case.x)
    assert case.launches == [0, 0]


@pytest.mark.parametrize("stats", list(STATISTICS))
def test_sums_are_the_same_bits_in_any_order(stats, monkeypatch):
    x, grad_y = torch.randn(3, 5, 27, 29), torch.randn(3, 5, 27, 29)
    expected = run(Case(x, stats), grad_y)
    monkeypatch.setenv("CUDA_SHIM_ORDER", "1")
    for one, two in zip(run(Case(x, stats, max_blocks=2), grad_y), expected, strict=True):
        assert torch.equal(one, two)
