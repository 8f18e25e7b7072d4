"""The CUDA kernels of the modulated convolution, run on the CPU, against the specification."""

from dataclasses import replace

import pytest
import torch

from fastgan.reference.bias_act import ACTIVATIONS
from tests.emulation import modulated
from tests.emulation.modulated import Options
from tests.tolerances import DTYPES, assert_close_to_exact

KINDS = [*DTYPES, "tf32"]  # the last: float32 whose operands are rounded for tensor cores
LAYOUTS = [(False, False), (True, True)]


def dtype_of(kind) -> torch.dtype:
    return torch.float32 if kind == "tf32" else kind


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


def case(kind, x_shape, out_channels, size, o: Options, **settings):
    """Tensors of a convolution with a size x size weight."""
    height = o.up * x_shape[2] + o.padding[2] + o.padding[3] - size + 1
    width = o.up * x_shape[3] + o.padding[0] + o.padding[1] - size + 1
    return modulated.tensors(
        x_shape, (out_channels, x_shape[1], size, size), dtype_of(kind), (height, width), **settings
    )


@pytest.mark.parametrize(("x_last", "y_last"), LAYOUTS)
@pytest.mark.parametrize("size", [1, 3, 2])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_ragged_sizes(thread_order, kind, size, x_last, y_last):
    o = Options((1, 0, 2, 1), clamp=1.5, x_last=x_last, y_last=y_last, tf32=kind == "tf32")
    check(case(kind, (2, 19, 9, 17), 21, size, o), o)


@pytest.mark.parametrize(("x_last", "y_last"), [*LAYOUTS, (True, False), (False, True)])
@pytest.mark.parametrize(("channels", "width"), [(24, 16), (530, 7)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_to_rgb(thread_order, dtype, channels, width, x_last, y_last):
    o = Options((0, 0, 0, 0), act="linear", clamp=1.0, x_last=x_last, y_last=y_last)
    check(case(dtype, (2, channels, 5, width), 3, 1, o), o)
    wide = case(dtype, (1, channels, 3, width), 4, 1, o, without=("noise", "in_scale"))
    check(wide, replace(o, shift=1))


@pytest.mark.parametrize(("x_last", "y_last"), LAYOUTS)
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_upsampling(thread_order, kind, x_last, y_last):
    o = Options(up=2, clamp=1.5, x_last=x_last, y_last=y_last, tf32=kind == "tf32")
    check(case(kind, (2, 11, 7, 16), 35, 3, o), o)


@pytest.mark.parametrize("padding", [(0, 2, 1, 3), (-1, 1, 2, 0), (4, -2, -1, -1)], ids=str)
@pytest.mark.parametrize("kind", [torch.float32, torch.float16], ids=str)
def test_upsampling_with_every_phase_of_padding(kind, padding):
    o = Options(padding, up=2)
    check(case(kind, (1, 3, 5, 6), 5, 3, o), o)
