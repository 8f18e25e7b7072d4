"""The CUDA kernels of the modulated convolution, run on the CPU, against the specification."""

import ctypes
from dataclasses import replace

import pytest
import torch

from fastgan import reference
from fastgan.reference.bias_act import ACTIVATIONS
from tests.emulation import modulated
from tests.emulation.modulated import Options
from tests.tolerances import DTYPES, assert_close_to_exact

KINDS = [*DTYPES, "tf32"]  # the last: float32 whose operands are rounded for tensor cores
LAYOUTS = [(False, False), (True, True)]
OPTIONAL = ("in_scale", "out_scale", "noise", "bias")


def dtype_of(kind) -> torch.dtype:
    return torch.float32 if kind == "tf32" else kind


def case(kind, x_shape, out_channels, size, o: Options, **settings):
    """Tensors of a convolution with a size x size weight."""
    height = o.up * x_shape[2] + o.padding[2] + o.padding[3] - size + 1
    width = o.up * x_shape[3] + o.padding[0] + o.padding[1] - size + 1
    return modulated.tensors(
        x_shape, (out_channels, x_shape[1], size, size), dtype_of(kind), (height, width), **settings
    )


def check(t, o: Options) -> torch.Tensor:
    y = modulated.run(t, o)
    assert not y.isnan().any()
    exact = modulated.specification(modulated.doubled(t), o)
    if o.tf32:
        rounded = modulated.specification(modulated.doubled(t), o, modulated.to_tf32).float()
    else:
        rounded = modulated.specification(t, o)
    assert_close_to_exact(y, rounded, exact)
    return y


@pytest.mark.parametrize(("x_last", "y_last"), LAYOUTS)
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_ragged_sizes(thread_order, kind, size, x_last, y_last):
    o = Options((1, 0, 2, 1), clamp=1.5, x_last=x_last, y_last=y_last, tf32=kind == "tf32")
    check(case(kind, (1, 19, 9, 17), 21, size, o), o)


@pytest.mark.parametrize("kind", [torch.float32, torch.float16], ids=str)
def test_several_tiles_channels_and_samples(kind):
    o = Options(act="linear", x_last=True)
    check(case(kind, (2, 40, 10, 33), 70, 3, o), o)


@pytest.mark.parametrize("weight", [(2, 2), (5, 4), (1, 7)], ids=str)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=str)
def test_weights_of_any_size_and_padding(kind, weight):
    o = Options((3, 2, -1, 4))
    out = (9 + 3 - weight[0] + 1, 6 + 5 - weight[1] + 1)
    check(modulated.tensors((2, 5, 9, 6), (3, 5, *weight), kind, out), o)


@pytest.mark.parametrize(("x_last", "y_last"), [(True, False), (False, True)])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("up", [1, 2])
def test_layouts_that_differ(kind, x_last, y_last, up):
    o = Options(up=up, x_last=x_last, y_last=y_last)
    check(case(kind, (1, 16, 4, 8), 16, 3, o), o)


@pytest.mark.parametrize(("x_last", "y_last"), LAYOUTS)
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16], ids=str)
def test_every_alignment(kind, size, x_last, y_last):
    o = Options((size // 2,) * 4, x_last=x_last, y_last=y_last)
    t = case(kind, (1, 16, 4, 16), 16, size, o)
    assert torch.equal(check(t, o), check(t, replace(o, shift=1)))


@pytest.mark.parametrize("missing", OPTIONAL)
@pytest.mark.parametrize(("up", "size", "channels"), [(1, 3, 5), (1, 1, 3), (2, 3, 5)])
def test_without_each_optional_tensor(missing, up, size, channels):
    for x_last, y_last in LAYOUTS:
        o = Options((size // 2,) * 4, up=up, x_last=x_last, y_last=y_last)
        only = tuple(name for name in OPTIONAL if name != missing)
        check(case(torch.float32, (2, 4, 5, 6), channels, size, o, without=(missing,)), o)
        check(case(torch.float32, (2, 4, 5, 6), channels, size, o, without=only, noises=1), o)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_every_activation(act):
    o = Options((0, 0, 0, 0), act=act, gain=1.3, clamp=0.9)
    check(case(torch.float32, (1, 3, 4, 5), 2, 1, o), o)
    check(case(torch.float16, (1, 3, 4, 5), 6, 1, o), o)


@pytest.mark.parametrize(("x_last", "y_last"), LAYOUTS)
@pytest.mark.parametrize("channels", [24, 530])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_to_rgb(thread_order, dtype, channels, x_last, y_last):
    o = Options((0, 0, 0, 0), act="linear", clamp=1.0, x_last=x_last, y_last=y_last)
    check(case(dtype, (2, channels, 5, 16), 3, 1, o), o)
    check(case(dtype, (1, channels, 3, 7), 4, 1, o, without=("noise",)), replace(o, shift=1))


@pytest.mark.parametrize(("x_last", "y_last"), [(True, False), (False, True)])
def test_to_rgb_in_layouts_that_differ(x_last, y_last):
    o = Options((0, 0, 0, 0), act="linear", x_last=x_last, y_last=y_last)
    check(case(torch.float16, (2, 32, 4, 8), 3, 1, o), o)


@pytest.mark.parametrize(("x_last", "y_last"), LAYOUTS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_upsampling(thread_order, kind, x_last, y_last):
    o = Options(up=2, clamp=1.5, x_last=x_last, y_last=y_last, tf32=kind == "tf32")
    check(case(kind, (1, 11, 7, 16), 35, 3, o), o)


@pytest.mark.parametrize("padding", [(0, 2, 1, 3), (-1, 1, 2, 0), (4, -2, -1, -1)], ids=str)
@pytest.mark.parametrize("kind", [torch.float32, torch.float16], ids=str)
def test_upsampling_with_every_phase_of_padding(kind, padding):
    o = Options(padding, up=2)
    check(case(kind, (2, 3, 5, 6), 5, 3, o), o)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("size", [1, 3])
def test_gradient_of_the_input(kind, size):
    """The same call with the scales swapped and the weight transposed and flipped."""
    o = Options((0, 1, 0, size // 2), act="linear", tf32=kind == "tf32")
    t = case(kind, (2, 6, 5, 7), 9, size, o)
    x = t["x"].double().requires_grad_()
    scaled = x * t["in_scale"].double()[:, :, None, None]
    y = reference.conv2d_resample(scaled, t["weight"].double(), padding=o.padding)
    y = y * t["out_scale"].double()[:, :, None, None]
    grad_y = torch.randn(y.shape, dtype=torch.float64).to(dtype_of(kind))
    (exact,) = torch.autograd.grad(y, x, grad_y.double())

    back = {"x": grad_y, "weight": t["weight"].flip([2, 3]).transpose(0, 1).contiguous()}
    back |= {"in_scale": t["out_scale"], "out_scale": t["in_scale"]}
    o = replace(o, padding=tuple(size - 1 - pad for pad in o.padding))
    assert check(back, o).shape == x.shape
    torch.testing.assert_close(modulated.specification(modulated.doubled(back), o), exact)


def test_same_bits_in_every_order_of_threads(monkeypatch):
    o = Options()
    t = case(torch.float16, (1, 20, 9, 17), 20, 3, o)
    bits = set()
    for order in ("fwd", "rev", "3"):
        monkeypatch.setenv("CUDA_SHIM_ORDER", order)
        bits.add(modulated.run(t, o).numpy().tobytes())
    assert len(bits) == 1


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4), (2, 3, 1, 1)])
def test_empty_results_launch_nothing(shape):
    o = Options((0, 0, 0, 0))
    y = modulated.run(case(torch.float32, shape, 2, 3, replace(o, padding=(9,) * 4)), o)
    assert y.numel() == 0


def test_calls_without_a_kernel_are_refused():
    launch = modulated.library().modulated_conv2d_float32
    for height, up in ((2, 2), (3, 3)):
        call = modulated.Call(1, 1, 1, 4, 4, height, 3, up)
        assert launch(ctypes.byref(call), ctypes.byref(modulated.Pointers())) == 0
