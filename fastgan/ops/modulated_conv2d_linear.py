"""The convolution inside modulated_conv2d_fused as a linear map: its transpose and the gradient of
its weight, composed of differentiable operators."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fastgan.ops._register import registered
from fastgan.ops.modulated_conv2d_scale import modulated_conv2d_scale


class Convolution(NamedTuple):
    """A correlation with `weight`; with `up` 2 transposed, of stride 2, then filtered by
    4 outer(taps, taps), for a 3x3 weight. Padding is [x0, x1, y0, y1], of x or of the filter."""

    weight: Tensor
    taps: Tensor | None
    up: int
    padding: tuple[int, ...]
    in_size: tuple[int, ...]
    allow_tf32: bool
    backend: str

    def transposed(self, g: Tensor, factor: Tensor | None, out_scale: Tensor | None) -> Tensor:
        """The transpose on g * factor[n, o], times out_scale[n, i]. With up 2, factor is None."""
        if self.taps is not None:
            between = self._before_filter(g)
            y = F.conv2d(between, self._scattered(), stride=2)
            if out_scale is None:
                return y
            return modulated_conv2d_scale(y, out_scale, None, self.backend)
        if factor is None:
            dtype = torch.float64 if g.dtype == torch.float64 else torch.float32
            factor = torch.ones(g.shape[:2], dtype=dtype, device=g.device)
        rest_h, rest_w = self.weight.shape[2] - 1, self.weight.shape[3] - 1
        x0, x1, y0, y1 = self.padding
        cut = (rest_w - x0, rest_w - x1, rest_h - y0, rest_h - y1)
        result: Tensor = registered.modulated_conv2d_fused(
            g, self._scattered(), factor, out_scale, None, None, None, 1, cut, "linear", 0.0, 1.0,
            -1.0, self.allow_tf32, self.backend,
        )  # fmt: skip
        return result

    def weight_gradient(self, g: Tensor, x: Tensor) -> Tensor:
        """Gradient of the weight for the gradient g of the result on x."""
        if self.taps is not None:
            grad = _weight_gradient(self._before_filter(g), x, self._scattered(), 2, (0, 0), True)
            return grad.transpose(0, 1).flip(2, 3)
        x0, x1, y0, y1 = self.padding
        if x0 == x1 >= 0 and y0 == y1 >= 0:
            return _weight_gradient(g, x, self.weight, 1, (y0, x0), False)
        return _weight_gradient(g, F.pad(x, self.padding), self.weight, 1, (0, 0), False)

    def _scattered(self) -> Tensor:
        """[C_in, C_out, kh, kw], flipped: the weight that a transposed convolution takes."""
        return self.weight.transpose(0, 1).flip(2, 3)

    def _before_filter(self, g: Tensor) -> Tensor:
        """The transpose of padding and filter: the gradient of the image between."""
        assert self.taps is not None
        x0, _, y0, _ = self.padding
        height, width = (2 * size + 1 for size in self.in_size)
        count = self.taps.shape[0]
        cut = [
            count - 1 - x0, width - g.shape[3] + x0, count - 1 - y0, height - g.shape[2] + y0,
        ]  # fmt: skip
        filter = torch.outer(self.taps, self.taps)
        y: Tensor = registered.upfirdn2d(g, filter, [1, 1], [1, 1], cut, True, 4.0, self.backend)
        return y


def _weight_gradient(
    g: Tensor, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int], transposed: bool
) -> Tensor:
    _, grad, _ = torch.ops.aten.convolution_backward(
        g, x, weight, None, [stride, stride], padding, [1, 1], transposed, [0, 0], 1,
        [False, True, False],
    )  # fmt: skip
    result: Tensor = grad
    return result
