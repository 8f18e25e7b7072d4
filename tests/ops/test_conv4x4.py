"""conv4x4: values and gradients of every order, every instruction set, and what is torch's."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from fastgan import reference
from fastgan.ops import conv4x4, conv4x4_transposed
from fastgan.ops.conv4x4 import pays, serves

# Minimal filtering rounds in its transforms too: the largest error, in standard deviations of the
# exact result, of sums of up to 4096 products.
BOUND = 3e-5

# N, C_high, C_low, H, W: whole tiles, overhanging tiles, odd sizes, less than a tile, channels that
# fill no vector, more tiles than a group and than a chunk has, one sample.
SHAPES = [
    (2, 16, 32, 8, 8),
    (3, 17, 35, 7, 9),
    (2, 1, 5, 2, 3),
    (1, 40, 70, 5, 4),
    (2, 64, 128, 34, 30),
    (5, 33, 100, 10, 6),
    (9, 130, 20, 24, 24),
]
PAYS = (8, 16, 32, 8, 8)


def images(samples: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, channels, height, width, generator=generator)
    return x.contiguous(memory_format=torch.channels_last)


def tensors(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """(high image, weight, low image)."""
    samples, high, low, height, width = shape
    return (
        images(samples, high, height, width),
        images(low, high, 4, 4, seed=1).contiguous(),
        images(samples, low, height // 2, width // 2, seed=2),
    )


def run(x: Tensor, weight: Tensor, y: Tensor) -> list[Tensor]:
    kernels: Any = torch.ops.fastgan_cpp
    return [
        kernels.conv4x4(x, weight),
        kernels.conv4x4_transposed(y, weight, x.shape[2], x.shape[3]),
        kernels.conv4x4_weight_grad(x, y),
    ]


def check(actual: Tensor, exact: Tensor, order: int = 0) -> None:
    assert actual.shape == exact.shape
    assert actual.dtype == torch.float32
    error = (actual.double() - exact).abs().max()
    assert error <= (1 + order) * BOUND * exact.std(), error / exact.std()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_instruction_set(shape: tuple[int, ...], cpu_capability: str) -> None:
    x, weight, y = tensors(shape)
    down, up, grad = run(x, weight, y)
    assert down.is_contiguous(memory_format=torch.channels_last)
    assert up.is_contiguous(memory_format=torch.channels_last)
    assert grad.is_contiguous()
    x, weight, y = x.double(), weight.double(), y.double()
    check(down, reference.conv4x4(x, weight))
    check(up, reference.conv4x4_transposed(y, weight, *x.shape[2:]))
    check(grad, reference.conv4x4_weight_grad(x, y))


@pytest.mark.parametrize("shape", [(3, 20, 48, 9, 17), (9, 130, 20, 24, 24)])
def test_number_of_threads_changes_no_bit(shape: tuple[int, ...], kernel_backend: str) -> None:
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 16):
            torch.set_num_threads(threads)
            found.append(run(*tensors(shape)))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_concurrent_calls(kernel_backend: str) -> None:
    calls = [tensors(shape) for shape in SHAPES[:4]] * 3
    expected = [run(*call) for call in calls]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda call: run(*call), calls))
    for one, two in zip(found, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_kernels_take_any_layout(kernel_backend: str) -> None:
    x, weight, y = tensors((2, 20, 24, 9, 7))
    wide = x.contiguous().repeat_interleave(2, dim=3)[..., ::2]
    flipped = weight.transpose(0, 1).contiguous().transpose(0, 1)
    found = run(wide, flipped, y.contiguous())
    for one, two in zip(found, run(x, weight, y), strict=True):
        assert torch.equal(one, two)
        assert one.is_contiguous()


def derivatives(function: Any, x: Tensor, weight: Tensor, upstream: Tensor) -> list[Tensor]:
    """The value, both gradients, and the gradients of a smooth function of those."""
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    upstream = upstream.detach().requires_grad_()
    y = function(x, weight)
    grads = torch.autograd.grad(y, (x, weight), upstream, create_graph=True)
    penalty = sum((g / g.detach().std()).square().mean() for g in grads)
    second = torch.autograd.grad(penalty, (x, weight, upstream))
    return [y, *grads, *second]


@pytest.mark.parametrize("shape", [PAYS, (8, 17, 33, 15, 13), (2, 64, 16, 24, 24)])
def test_gradients_to_second_order_by_the_kernels(
    shape: tuple[int, ...], kernel_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight, y = tensors(shape)
    even = x[:, :, : 2 * y.shape[2], : 2 * y.shape[3]]
    even = even.contiguous(memory_format=torch.channels_last)
    calls = [
        (lambda a, b: reference.conv4x4(a, b), lambda a, b: conv4x4(a, b), x, y),
        (
            lambda a, b: reference.conv4x4_transposed(a, b, *even.shape[2:]),
            lambda a, b: conv4x4_transposed(a, b),
            y,
            even,
        ),
    ]
    exact = [
        derivatives(want, image.double(), weight.double(), upstream.double())
        for want, _, image, upstream in calls
    ]
    monkeypatch.setattr(F, "conv2d", None)
    monkeypatch.setattr(F, "conv_transpose2d", None)
    for (_, call, image, upstream), wanted in zip(calls, exact, strict=True):
        found = derivatives(call, image, weight, upstream)
        for index, (one, two) in enumerate(zip(found, wanted, strict=True)):
            check(one, two, order=(0, 1, 1, 2, 2, 2)[index])


def test_float64_is_torchs_to_second_order(kernel_backend: str) -> None:
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    y = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    for function, inputs in ((conv4x4, (x, weight)), (conv4x4_transposed, (y, weight))):
        assert gradcheck(function, inputs)
        assert gradgradcheck(function, inputs)


def test_serves_what_pays_and_leaves_the_rest_to_torch(kernel_backend: str) -> None:
    x, weight, _ = tensors(PAYS)
    assert serves(x, weight, 1, 4, 4, kernel_backend)
    many, wide = torch.zeros(128, 128, 4, 4), torch.zeros(8, 128, 8, 16)
    assert serves(wide, many, 1, 4, 8, kernel_backend)
    for other, kernel in (
        (x.double(), weight.double()),
        (x.bfloat16(), weight.bfloat16()),
        (x.contiguous(), weight),  # the copies would cost what the products save
        (x[..., ::2], weight),
        (wide[..., ::2], many),
        (x, weight[:, :, :3, :3]),
        (x, weight[:, :8]),
        (x, weight[:8]),
    ):
        assert not serves(other, kernel, 1, 4, 4, kernel_backend)
    assert not serves(x, weight, 1, 4, 4, "reference")
    with torch.autocast("cpu"):
        assert not serves(x, weight, 1, 4, 4, kernel_backend)
    assert pays(32, 64, 2, 2)
    assert not pays(200, 64, 1, 1)
    assert not pays(1, 64, 4, 4)
    assert not pays(64, 3, 32, 32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_is_torchs_equals_torch(dtype: torch.dtype) -> None:
    x, weight, bias = torch.randn(2, 3, 9, 6), torch.randn(5, 3, 4, 4), torch.randn(5)
    x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
    down, up = conv4x4(x, weight, bias), conv4x4_transposed(down_of(x), weight, bias[:3])
    assert torch.equal(down, F.conv2d(x, weight, bias, 2, 1))
    assert torch.equal(up, F.conv_transpose2d(down_of(x), weight, bias[:3], 2, 1))


def down_of(x: Tensor) -> Tensor:
    return torch.cat([x, x[:, :2]], dim=1)


def test_bias(kernel_backend: str) -> None:
    x, weight, y = tensors(PAYS)
    low, high = torch.randn(32), torch.randn(16)
    check(conv4x4(x, weight, low), F.conv2d(x.double(), weight.double(), low.double(), 2, 1))
    exact = F.conv_transpose2d(y.double(), weight.double(), high.double(), 2, 1)
    check(conv4x4_transposed(y, weight, high), exact)


def test_opcheck(kernel_backend: str) -> None:
    x, weight, y = (t.requires_grad_() for t in tensors((2, 4, 6, 5, 7)))
    ops = torch.ops.fastgan
    torch.library.opcheck(ops.conv4x4, (x, weight, kernel_backend))
    torch.library.opcheck(ops.conv4x4_transposed, (y, weight, 5, 7, kernel_backend))
    torch.library.opcheck(ops.conv4x4_weight_grad, (x, y, kernel_backend))


def test_compiles_forward_and_backward(kernel_backend: str) -> None:
    x, weight, _ = tensors(PAYS)
    weight.requires_grad_()

    def loss(x: Tensor) -> Tensor:
        return conv4x4_transposed(conv4x4(x, weight), weight).square()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    (expected,) = torch.autograd.grad(loss(x).sum(), weight)
    (actual,) = torch.autograd.grad(compiled(x).sum(), weight)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("samples", [0, 1])
def test_empty_and_single_batches(samples: int, kernel_backend: str) -> None:
    x, weight, y = tensors((1, 16, 24, 8, 8))
    down, up, grad = run(x[:samples], weight, y[:samples])
    assert down.shape == y[:samples].shape
    assert up.shape == x[:samples].shape
    assert grad.shape == weight.shape
    assert bool(grad.any()) == bool(samples)


def test_kernels_check_their_arguments(kernel_backend: str) -> None:
    kernels: Any = torch.ops.fastgan_cpp
    x, weight, y = tensors((1, 4, 6, 5, 7))
    for call, arguments, message in (
        (kernels.conv4x4, (x.double(), weight), "x must be a float32 CPU tensor"),
        (kernels.conv4x4, (x[0], weight), "x must be a float32 CPU tensor"),
        (kernels.conv4x4, (x, weight.double()), "weight must be a float32 CPU tensor"),
        (kernels.conv4x4, (y, weight), "with 6 channels in dimension 1"),
        (kernels.conv4x4, (x[..., :1], weight), "at least 2 x 2"),
        (kernels.conv4x4_transposed, (x, weight, 10, 14), "with 4 channels in dimension 0"),
        (kernels.conv4x4_transposed, (y, weight, 6, 7), "twice the size of y"),
        (kernels.conv4x4_weight_grad, (x, y[..., 1:]), "twice the size of y"),
        (kernels.conv4x4_weight_grad, (x, y.double()), "y must be a float32 CPU tensor"),
    ):
        with pytest.raises(RuntimeError, match=message):
            call(*arguments)
