"""Specification of conv3x3: 3x3 correlation with stride 1 and padding 1, its transpose, and the
gradient of its weight, each as torch has it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def conv3x3(x: Tensor, weight: Tensor, transposed: bool = False) -> Tensor:
    """y[n, o, i, j] = sum_{c, k, l} weight[o, c, k, l] x[n, c, i + k - 1, j + l - 1], zero outside.

    With `transposed` the adjoint of that in x, which maps images of C_out channels to C_in.
    """
    if transposed:
        return F.conv_transpose2d(x, weight, padding=1)
    return F.conv2d(x, weight, padding=1)


def conv3x3_weight_grad(x: Tensor, grad_y: Tensor) -> Tensor:
    """The adjoint of conv3x3 in the weight: [C_out, C_in, 3, 3]."""
    height, width = x.shape[2:]
    wide = F.pad(x, (1, 1, 1, 1))
    taps = [
        torch.einsum("ncij,noij->oc", wide[:, :, k : k + height, l : l + width], grad_y)
        for k in range(3)
        for l in range(3)  # noqa: E741
    ]
    return torch.stack(taps, dim=2).unflatten(2, (3, 3))
