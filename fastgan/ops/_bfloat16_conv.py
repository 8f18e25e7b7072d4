"""torch's convolution, with second derivatives that are right for bfloat16 on the CPU, too.

torch computes the weight's part of a second derivative as a convolution with the gradient of the
output as its kernel, of 16 x 16 taps for instance. oneDNN's bfloat16 kernels are wrong there
(torch 2.13: an error as large as the result), and right in the ordinary weight gradient, which is
the same bilinear form. So here every order is one of three forms that first derivatives use:

    y = Y(x, w),  the gradient by x = X(y, w),  the gradient by w = W(x, y).
"""

from __future__ import annotations

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
    if x.dtype != torch.bfloat16 or x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.conv2d(x, weight, stride=stride, padding=padding, groups=groups)
    y: Tensor = _Output.apply(x, weight, (stride, padding, groups))
    return y


class _Output(torch.autograd.Function):
    """Y(x, w)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, setting: Setting) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.setting = setting
        stride, padding, groups = setting
        return F.conv2d(x, weight, stride=stride, padding=padding, groups=groups)

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
    results = torch.ops.aten.convolution_backward(
        y, x, weight, None, [stride] * 2, list(padding), [1, 1], False, [0, 0], groups, wanted
    )
    result: Tensor = results[0 if by_input else 1]
    return result
