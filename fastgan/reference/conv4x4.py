"""Specification of conv4x4: 4x4 correlation with stride 2 and padding 1, its transpose, and the
gradient of its weight, each as torch has it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def conv4x4(x: Tensor, weight: Tensor) -> Tensor:
    """y[n, o, i, j] = sum_{c, k, l} weight[o, c, k, l] x[n, c, 2 i + k - 1, 2 j + l - 1], zero
    outside."""
    return F.conv2d(x, weight, stride=2, padding=1)


def conv4x4_transposed(y: Tensor, weight: Tensor, height: int, width: int) -> Tensor:
    """The adjoint of conv4x4 in x, of height x width pixels: twice those of y, or one more."""
    more = (height - 2 * y.shape[2], width - 2 * y.shape[3])
    return F.conv_transpose2d(y, weight, stride=2, padding=1, output_padding=more)


def conv4x4_weight_grad(x: Tensor, y: Tensor) -> Tensor:
    """The adjoint of conv4x4 in the weight: [C_y, C_x, 4, 4]."""
    height, width = y.shape[2:]
    wide = F.pad(x, (1, 2, 1, 2))
    taps = [
        torch.einsum("ncij,noij->oc", wide[:, :, k : k + 2 * height : 2, l : l + 2 * width : 2], y)
        for k in range(4)
        for l in range(4)  # noqa: E741
    ]
    return torch.stack(taps, dim=2).unflatten(2, (4, 4))
