"""bias_act that keeps bits for its gradient: against the specification, to every order."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from fastgan import ops, reference
from fastgan.dispatch import has_kernel
from fastgan.ops import _bias_act_signs
from fastgan.ops._bias_act_signs import bias_act_signs
from tests.tolerances import assert_close_to_exact

ACTS = {"linear": 0.0, "relu": 0.0, "lrelu": 0.2}
CALLS = [(act, gain, clamp) for act in ACTS for gain in (0.7, -1.0) for clamp in (None, 0.5)]
BLOCK = _bias_act_signs.BLOCK


@pytest.fixture
def backend(kernel_backend):
    if not has_kernel("bias_act_signs", kernel_backend):
        pytest.skip(f"backend {kernel_backend} keeps no signs")
    return kernel_backend


@pytest.fixture
def always(monkeypatch):
    """Small results keep bits too."""
    monkeypatch.setattr(_bias_act_signs, "MIN_BYTES", 0)


def away_from_kinks(*shape, dtype=torch.float64):
    """Values whose sign and place inside a clamp of 0.5 no rounding or small step changes."""
    x = torch.randn(shape, dtype=dtype)
    for kink in (0.0, 0.5, -0.5, 0.5 / 0.7, -0.5 / 0.7, -2.5, 2.5, -2.5 / 0.7, 2.5 / 0.7):
        x = torch.where((x - kink).abs() < 1e-2, x + 0.03, x)
    return x


def assert_matches(backend, act, gain, clamp, dtype, shape, dim):
    results = []
    x, bias = away_from_kinks(*shape), torch.randn(shape[dim], dtype=torch.float64) * 1e-3
    for function, kind in ((ops.bias_act, dtype), (reference.bias_act, dtype),
                           (reference.bias_act, torch.float64)):  # fmt: skip
        extra = {"backend": backend} if function is ops.bias_act else {}
        leaves = [t.to(kind).requires_grad_() for t in (x, bias)]
        y = function(*leaves, dim=dim, act=act, gain=gain, clamp=clamp, **extra)
        grad_y = torch.linspace(-1, 1, y.numel(), dtype=kind).reshape(y.shape).requires_grad_()
        grads = torch.autograd.grad(y, leaves, grad_y, create_graph=True)
        weights = [torch.linspace(1, 2, g.numel(), dtype=kind).reshape(g.shape) for g in grads]
        (second,) = torch.autograd.grad(grads, grad_y, weights)
        results.append([y, *grads, second])
    assert type(results[0][0].grad_fn).__name__ == "bias_act_signsBackward"
    for value, rounded, exact in zip(*results, strict=True):
        assert_close_to_exact(value, rounded, exact)


@pytest.mark.parametrize(("act", "gain", "clamp"), CALLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("shape", "dim"), [((2, 3, 16, 32), 1), ((3, 1, 5 * BLOCK), 0)])
def test_matches_the_specification(backend, always, act, gain, clamp, dtype, shape, dim):
    assert_matches(backend, act, gain, clamp, dtype, shape, dim)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_instruction_set(always, dtype, cpu_capability):
    assert_matches("cpp", "lrelu", 0.7, 0.5, dtype, (2, 3, 16, 32), 1)


def test_results_around_the_caches_by_every_instruction_set(cpu_capability):
    assert_matches("cpp", "lrelu", 0.7, 0.5, torch.float32, (1, 3, 4 * BLOCK, 256), 1)


def test_any_number_of_threads_gives_the_same_bits(backend, always):
    x, bias = torch.randn(2, 3, 64, 64, requires_grad=True), torch.randn(3, requires_grad=True)
    found = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        y = ops.bias_act(x, bias, act="lrelu", clamp=1.0, backend=backend)
        found.append([y, *torch.autograd.grad(y.square().sum(), (x, bias))])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("clamp", [None, 0.5])
def test_gradients_to_second_order(backend, clamp):
    x = away_from_kinks(1, 1, BLOCK).requires_grad_()
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    limit = -1.0 if clamp is None else clamp

    def function(x, bias):
        part = bias_act_signs(x, bias, 1, "lrelu", 0.2, 1.0, limit, backend)
        return part[..., :40], part.sum()

    assert gradcheck(function, (x, bias), fast_mode=True)
    assert gradgradcheck(function, (x, bias), fast_mode=True)


def test_not_a_number_keeps_the_lower_slope(backend, always):
    x = torch.full((1, 1, BLOCK), float("nan"), requires_grad=True)
    y = ops.bias_act(x, None, act="lrelu", gain=1.0, backend=backend)
    assert bool(y.isnan().all())
    (grad,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert torch.equal(grad, torch.full_like(grad, 0.2))


@pytest.mark.parametrize("bias", [True, False])
def test_operators(backend, bias):
    x = torch.randn(2, 2, BLOCK, requires_grad=True)
    b = torch.randn(2, requires_grad=True) if bias else None
    arguments = (x, b, 1, "lrelu", 0.2, 1.5, 1.0, backend)
    torch.library.opcheck(torch.ops.fastgan.bias_act_signs, arguments)
    signs = torch.ops.fastgan.bias_act_signs(*arguments)[1]
    torch.library.opcheck(
        torch.ops.fastgan.bias_act_signs_grad, (x, signs, 1, 0.2, 1.5, bias, backend)
    )


def test_compiles(backend, always):
    x = torch.randn(2, 2, BLOCK, requires_grad=True)
    bias = torch.randn(2, requires_grad=True)

    def loss(x, bias):
        return ops.bias_act(x, bias, act="lrelu", backend=backend).square().sum()

    expected = torch.autograd.grad(loss(x, bias), (x, bias))
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    found = torch.autograd.grad(compiled(x, bias), (x, bias))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_only_where_it_pays(backend):
    def kind(x, act="lrelu"):
        return type(ops.bias_act(x, None, act=act, backend=backend).grad_fn).__name__

    large = torch.randn(1, 3, BLOCK * 1024, requires_grad=True)
    assert kind(large) == kind(large.double()) == "bias_act_signsBackward"
    assert kind(large, "swish") == kind(large[..., 1:]) == "bias_actBackward"
    assert kind(large[:, :1]) == kind(large.half()) == "bias_actBackward"
    assert kind(large.transpose(1, 2)) == "bias_actBackward"


def test_refuses_parts_of_blocks(backend):
    with pytest.raises(RuntimeError, match="multiple of 512"):
        bias_act_signs(torch.randn(1, 2, 500), None, 1, "lrelu", 0.2, 1.0, -1.0, backend)


def test_operators_check_what_kernels_take_on_trust(backend):
    operator = torch.ops.fastgan.bias_act_signs
    x, arguments = torch.randn(2, 64, BLOCK), (1, "lrelu", 0.2, 1.0, -1.0, backend)
    for wrong in (torch.zeros(1), torch.zeros(64, dtype=torch.float16)):
        with pytest.raises(RuntimeError, match="bias"):
            operator(x, wrong, *arguments)
    with pytest.raises(RuntimeError, match="float32 or float64"):
        operator(x.half(), None, *arguments)
    _, signs = operator(x, None, *arguments)
    for wrong in (signs[1:], signs.float()):
        with pytest.raises(RuntimeError, match="signs"):
            torch.ops.fastgan.bias_act_signs_grad(x, wrong, 1, 0.2, 1.0, False, backend)
    scale = torch.ops.fastgan.modulated_conv2d_scale
    images = torch.randn(2, 3, 4, 4)
    for wrong in (torch.ones(1, 1), torch.ones(2, 3, dtype=torch.bfloat16)):
        with pytest.raises(RuntimeError, match="scale"):
            scale(images, wrong, None, backend)
    with pytest.raises(RuntimeError, match="noise"):
        scale(images, torch.ones(2, 3), torch.ones(1), backend)
