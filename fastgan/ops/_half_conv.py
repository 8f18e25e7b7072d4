"""torch's convolution, with derivatives that are right for half types on the CPU, too.

torch computes the weight's part of a second derivative as a convolution with the gradient of the
output as its kernel, of 16 x 16 taps for instance. oneDNN's bfloat16 kernels are wrong there
(torch 2.13: an error as large as the result), and right in the ordinary weight gradient, which is
the same bilinear form. So here every order is one of three forms that first derivatives use:

    y = Y(x, w),  the gradient by x = X(y, w),  the gradient by w = W(x, y).

Where oneDNN has no float16 kernels (CPUs without AVX512-FP16), torch adds the parts of a gradient
up in float16. The forms are computed in float32 there and rounded once.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Setting: TypeAlias = tuple[int, tuple[int, int], int]  # stride, padding, groups


def conv2d(
    x: Tensor, weight: Tensor, stride: int = 1, padding: tuple[int, int] = (0, 0), groups: int = 1
) -> Tensor:
    """As torch's conv2d without bias.

    Differentiable: any order.
    """
    is_ours = x.dtype == torch.bfloat16 or (x.dtype == torch.float16 and not _has_float16())
    if not is_ours or x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.conv2d(x, weight, stride=stride, padding=padding, groups=groups)
    y: Tensor = _Output.apply(x, weight, (stride, padding, groups))
    return y


def conv_transpose2d(
    x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int], groups: int = 1
) -> Tensor:
    """As torch's conv_transpose2d without bias.

    Differentiable: any order.
    """
    if x.device.type == "cpu":
        x, weight, dtype = _widened(x), _widened(weight), x.dtype
        y = F.conv_transpose2d(x, weight, stride=stride, padding=padding, groups=groups)
        return y.to(dtype)
    return F.conv_transpose2d(x, weight, stride=stride, padding=padding, groups=groups)


@cache
def _has_float16() -> bool:
    """Whether oneDNN computes convolutions in float16 on this CPU; a torch that does not say so is
    taken for one without."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_fp16_supported", None)
    return supported is not None and bool(supported())


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float16 and not _has_float16() else tensor


class _Output(torch.autograd.Function):
    """Y(x, w)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, setting: Setting) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.setting = setting
        stride, padding, groups = setting
        wide = _widened(x), _widened(weight)
        return F.conv2d(*wide, stride=stride, padding=padding, groups=groups).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (x, weight), (y,) = ctx.saved_tensors, grads
        on_x = _ByInput.apply(y, weight, x, ctx.setting) if ctx.needs_input_grad[0] else None
        on_w = _ByWeight.apply(x, y, weight, ctx.setting) if ctx.needs_input_grad[1] else None
        return on_x, on_w, None


class _ByInput(torch.autograd.Function):
    """X(y, w); x gives the shape alone."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, weight: Tensor, x: Tensor, setting: Setting) -> Tensor:
        ctx.save_for_backward(y, weight)
        ctx.setting = setting
        return _backward(y, x, weight, setting, by_input=True)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (y, weight), (x,) = ctx.saved_tensors, grads
        on_y = _Output.apply(x, weight, ctx.setting) if ctx.needs_input_grad[0] else None
        on_w = _ByWeight.apply(x, y, weight, ctx.setting) if ctx.needs_input_grad[1] else None
        return on_y, on_w, None, None


class _ByWeight(torch.autograd.Function):
    """W(x, y); the weight gives the shape alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, weight: Tensor, setting: Setting) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.setting = setting
        return _backward(y, x, weight, setting, by_input=False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        (x, y), (weight,) = ctx.saved_tensors, grads
        on_x = _ByInput.apply(y, weight, x, ctx.setting) if ctx.needs_input_grad[0] else None
        on_y = _Output.apply(x, weight, ctx.setting) if ctx.needs_input_grad[1] else None
        return on_x, on_y, None, None


def _backward(y: Tensor, x: Tensor, weight: Tensor, setting: Setting, *, by_input: bool) -> Tensor:
    stride, padding, groups = setting
    wanted = [by_input, not by_input, False]
    wide = _widened(y), _widened(x), _widened(weight)
    results = torch.ops.aten.convolution_backward(
        *wide, None, [stride] * 2, list(padding), [1, 1], False, [0, 0], groups, wanted
    )
    result: Tensor = results[0 if by_input else 1].to(y.dtype)
    return result
