"""Large results, which go around the caches or, by the machine, do not: odd sizes, both layouts,
gradients."""

import pytest
import torch

from fastgan import ops, reference
from tests.tolerances import assert_close_to_exact

SHAPE = (3, 17, 161, 151)  # 4.8 MiB of float32; no row starts on a multiple of 16 bytes


@pytest.fixture(params=["around", "through"], autouse=True)
def caches(request, kernel_backend):
    """Streams results of more than 4 MiB, and none at all, where the backend is that of the CPU."""
    if kernel_backend != "cpp":
        yield
        return
    set_stream_bytes = torch.ops.fastgan_cpp.set_stream_bytes
    before = set_stream_bytes(4 << 20 if request.param == "around" else 1 << 60)
    yield
    set_stream_bytes(before)


@pytest.mark.parametrize("channels_last", [False, True])
def test_bias_act(kernel_backend, channels_last):
    x, bias = torch.randn(SHAPE), torch.randn(SHAPE[1])
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    grads = []
    for function, dtype in ((ops.bias_act, torch.float32), (reference.bias_act, torch.float64)):
        extra = {"backend": kernel_backend} if function is ops.bias_act else {}
        leaves = [t.detach().to(dtype).requires_grad_() for t in (x, bias)]
        y = function(*leaves, act="swish", clamp=2.0, **extra)
        first = torch.autograd.grad(y, leaves, torch.ones_like(y), create_graph=True)
        second = torch.autograd.grad(first[0].square().sum(), leaves)
        grads.append([y, *first, *second])
    for value, exact in zip(*grads, strict=True):
        error = (value.double() - exact).abs().max() / exact.abs().max()
        assert error < 2e-5


@pytest.mark.parametrize("width", [151, 152])
def test_upsampled_images(kernel_backend, width):
    x = torch.randn(2, 13, 163, width)
    taps = ops.setup_filter([1, 3, 3, 1])
    y = ops.upsample2d(x, taps, backend=kernel_backend)
    rounded = ops.upsample2d(x, taps, backend="reference")
    exact = ops.upsample2d(x.double(), taps, backend="reference")
    assert y.numel() * 4 > 4 << 20
    assert_close_to_exact(y, rounded, exact)
