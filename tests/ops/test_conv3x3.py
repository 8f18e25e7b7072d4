"""conv3x3: values and gradients of every order, every instruction set, and what is torch's."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from fastgan import ops, reference
from fastgan.ops.conv3x3 import conv3x3, pays, serves
from tests.tolerances import assert_minimally_filtered

# N, C_in, C_out, H, W: whole tiles, overhanging tiles, less than a tile, channels that fill no
# vector, more tiles than a strip has, one sample.
SHAPES = [
    (2, 16, 32, 8, 8),
    (3, 33, 18, 4, 4),
    (2, 20, 48, 9, 17),
    (1, 5, 3, 2, 2),
    (2, 17, 40, 3, 1),
    (1, 7, 9, 1, 1),
    (1, 64, 128, 6, 6),
    (4, 16, 16, 32, 64),
]
PAYS = (4, 16, 32, 8, 8)


def images(samples: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, channels, height, width, generator=generator)
    return x.contiguous(memory_format=torch.channels_last)


def tensors(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """(x, weight, grad_y)."""
    samples, inputs, outputs, height, width = shape
    return (
        images(samples, inputs, height, width),
        images(outputs, inputs, 3, 3, seed=1).contiguous(),
        images(samples, outputs, height, width, seed=2),
    )


def check_kernels(shape: tuple[int, ...]) -> None:
    x, weight, grad_y = tensors(shape)
    kernels: Any = torch.ops.fastgan_cpp
    y, grad_x = kernels.conv3x3(x, weight, False), kernels.conv3x3(grad_y, weight, True)
    grad_weight = kernels.conv3x3_weight_grad(x, grad_y)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert grad_weight.is_contiguous()
    x, weight, grad_y = x.double(), weight.double(), grad_y.double()
    assert_minimally_filtered(y, reference.conv3x3(x, weight))
    assert_minimally_filtered(grad_x, reference.conv3x3(grad_y, weight, transposed=True))
    assert_minimally_filtered(grad_weight, reference.conv3x3_weight_grad(x, grad_y))


@pytest.mark.parametrize("shape", SHAPES)
def test_every_instruction_set(shape: tuple[int, ...], cpu_capability: str) -> None:
    check_kernels(shape)


@pytest.mark.parametrize("shape", [(2, 20, 48, 9, 17), (8, 16, 16, 32, 64)])
def test_number_of_threads_changes_no_bit(shape: tuple[int, ...], kernel_backend: str) -> None:
    x, weight, grad_y = tensors(shape)
    kernels: Any = torch.ops.fastgan_cpp
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(
                [
                    kernels.conv3x3(x, weight, False),
                    kernels.conv3x3(grad_y, weight, True),
                    kernels.conv3x3_weight_grad(x, grad_y),
                ]
            )
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_kernels_take_any_layout(kernel_backend: str) -> None:
    x, weight, grad_y = tensors((2, 20, 24, 9, 7))
    kernels: Any = torch.ops.fastgan_cpp
    wide = x.contiguous().repeat_interleave(2, dim=3)[..., ::2]
    flipped = weight.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(kernels.conv3x3(wide, flipped, False), kernels.conv3x3(x, weight, False))
    assert kernels.conv3x3(wide, weight, False).is_contiguous()
    constant = torch.ones(()).expand(grad_y.shape)
    assert torch.equal(
        kernels.conv3x3_weight_grad(wide, constant),
        kernels.conv3x3_weight_grad(x, torch.ones_like(grad_y)),
    )


def test_infinite_and_missing_values_stay_in_their_tiles(kernel_backend: str) -> None:
    x, weight, _ = tensors((1, 16, 16, 16, 16))
    clean = torch.ops.fastgan_cpp.conv3x3(x, weight, False)
    x[0, 3, 9, 9] = float("nan")
    y = torch.ops.fastgan_cpp.conv3x3(x, weight, False)
    assert y[:, :, 8:11, 8:11].isnan().all()
    assert torch.equal(y[:, :, :4, :4], clean[:, :, :4, :4])


def derivatives(function: Any, x: Tensor, weight: Tensor, upstream: Tensor) -> list[Tensor]:
    """The value, both gradients, and the gradients of a smooth function of those."""
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    upstream = upstream.detach().requires_grad_()
    y = function(x, weight)
    grads = torch.autograd.grad(y, (x, weight), upstream, create_graph=True)
    penalty = sum((g / g.detach().std()).square().mean() for g in grads)
    second = torch.autograd.grad(penalty, (x, weight, upstream))
    return [y, *grads, *second]


@pytest.mark.parametrize("shape", [PAYS, (2, 17, 33, 15, 13), (2, 64, 16, 12, 12)])
def test_gradients_to_second_order_by_the_kernels(
    shape: tuple[int, ...], kernel_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight, upstream = tensors(shape)
    exact = derivatives(reference.conv3x3, x.double(), weight.double(), upstream.double())

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("torch's convolution was called")

    monkeypatch.setattr(F, "conv2d", refuse)
    found = derivatives(lambda x, w: conv3x3(x, w, kernel_backend), x, weight, upstream)
    for index, (one, two) in enumerate(zip(found, exact, strict=True)):
        assert_minimally_filtered(one, two, order=(0, 1, 1, 2, 2, 2)[index])


def test_float64_is_torchs_to_second_order(kernel_backend: str) -> None:
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x, w: conv3x3(x, w, kernel_backend), (x, weight))
    assert gradgradcheck(lambda x, w: conv3x3(x, w, kernel_backend), (x, weight))


def test_serves_what_pays_and_leaves_the_rest_to_torch(kernel_backend: str) -> None:
    x, weight, _ = tensors(PAYS)
    assert serves(x, weight, kernel_backend)
    wide = images(1, weight.shape[1], 64, 64).contiguous()
    assert serves(wide[:, :, :16].contiguous(), weight, kernel_backend)
    assert not serves(wide[:, :, :15].contiguous(), weight, kernel_backend)
    for other, kernel in (
        (x.double(), weight.double()),
        (x.bfloat16(), weight.bfloat16()),
        (x.contiguous(), weight),  # the copies would cost what the products save
        (x[..., ::2], weight),
        (wide[..., ::2], weight),
        (x[:0], weight),
        (x[:1, :, :4, :4].contiguous(memory_format=torch.channels_last), weight),
        (x, weight[:, :, :1, :1]),
        (x, weight[:, :8]),
        (x, weight[:8]),
    ):
        assert not serves(other, kernel, kernel_backend)
    assert not serves(x, weight, "reference")
    with torch.autocast("cpu"):
        assert not serves(x, weight, kernel_backend)


def test_overhanging_tiles_must_pay() -> None:
    assert pays(64, 64, 64, 2, 2)
    assert pays(16, 64, 64, 6, 6)
    assert not pays(64, 64, 64, 5, 5)
    assert not pays(512, 64, 64, 1, 1)


def test_conv2d_resample_and_modulated_conv2d_use_it(
    kernel_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight, _ = tensors(PAYS)
    exact = reference.conv2d_resample(x.double(), weight.double(), padding=(1, 1, 1, 1))
    turned = reference.conv2d_resample(x.double(), weight.double().flip([2, 3]), padding=(1,) * 4)
    styles = torch.randn(x.shape[:2])
    settings: dict[str, Any] = {"padding": 1, "backend": kernel_backend}
    monkeypatch.setattr(F, "conv2d", None)
    assert_minimally_filtered(ops.conv2d_resample(x, weight, **settings), exact)
    assert_minimally_filtered(ops.conv2d_resample(x, weight, flip_weight=False, **settings), turned)
    assert ops.modulated_conv2d(x, weight, styles, **settings).shape == exact.shape


@pytest.mark.parametrize("transposed", [False, True])
def test_opcheck(transposed: bool, kernel_backend: str) -> None:
    x, weight, grad_y = tensors((2, 4, 6, 5, 7))
    image = grad_y if transposed else x.contiguous()
    torch.library.opcheck(
        torch.ops.fastgan.conv3x3,
        (image.requires_grad_(), weight.requires_grad_(), transposed, kernel_backend),
    )
    if not transposed:
        torch.library.opcheck(
            torch.ops.fastgan.conv3x3_weight_grad,
            (x.detach().requires_grad_(), grad_y.requires_grad_(), kernel_backend),
        )


def test_compiles_forward_and_backward(kernel_backend: str) -> None:
    x, weight, _ = tensors(PAYS)
    weight.requires_grad_()

    def loss(x: Tensor) -> Tensor:
        return conv3x3(conv3x3(x, weight, kernel_backend), weight.mT.transpose(0, 1), "reference")

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    (expected,) = torch.autograd.grad(loss(x).sum(), weight)
    (actual,) = torch.autograd.grad(compiled(x).sum(), weight)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("samples", [0, 1])
def test_empty_and_single_batches(samples: int, kernel_backend: str) -> None:
    x, weight, grad_y = tensors((1, 16, 24, 8, 8))
    x, grad_y = x[:samples], grad_y[:samples]
    kernels: Any = torch.ops.fastgan_cpp
    assert kernels.conv3x3(x, weight, False).shape == grad_y.shape
    grad_weight = kernels.conv3x3_weight_grad(x, grad_y)
    assert grad_weight.shape == weight.shape
    assert bool(grad_weight.any()) == bool(samples)


def test_kernels_check_their_arguments(kernel_backend: str) -> None:
    kernels: Any = torch.ops.fastgan_cpp
    x, weight, grad_y = tensors((1, 4, 6, 5, 7))
    for call, arguments, message in (
        (kernels.conv3x3, (x.double(), weight.double(), False), "x must be a float32 CPU tensor"),
        (kernels.conv3x3, (x[0], weight, False), "x must be a float32 CPU tensor"),
        (kernels.conv3x3, (x, weight[0], False), "weight must have 4 dimensions"),
        (kernels.conv3x3, (x, weight, True), "weight must have"),
        (kernels.conv3x3, (x, weight.double(), False), "weight has the wrong dtype"),
        (kernels.conv3x3, (x, weight.reshape(6, 4, 1, 9), False), "with the channels of x"),
        (kernels.conv3x3_weight_grad, (x, grad_y[..., 1:]), "differ in channels alone"),
        (kernels.conv3x3_weight_grad, (x, grad_y.double()), "grad_y must be a float32 CPU tensor"),
    ):
        with pytest.raises(RuntimeError, match=message):
            call(*arguments)
