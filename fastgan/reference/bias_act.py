"""Specification of bias_act: add a bias, apply an activation, scale, clamp."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """One row of the table of activations."""

    function: Callable[[Tensor, float], Tensor]
    default_alpha: float
    default_gain: float  # keeps unit variance for normal input where it is not 1
    piecewise_linear: bool  # second derivative zero: the sign of the output gives the slope


ACTIVATIONS = {
    "linear": Activation(lambda v, alpha: v, 0.0, 1.0, True),
    "relu": Activation(lambda v, alpha: torch.relu(v), 0.0, sqrt(2), True),
    "lrelu": Activation(lambda v, alpha: F.leaky_relu(v, alpha), 0.2, sqrt(2), True),
    "tanh": Activation(lambda v, alpha: torch.tanh(v), 0.0, 1.0, False),
    "sigmoid": Activation(lambda v, alpha: torch.sigmoid(v), 0.0, 1.0, False),
    "elu": Activation(lambda v, alpha: F.elu(v), 0.0, 1.0, False),
    "selu": Activation(lambda v, alpha: F.selu(v), 0.0, 1.0, False),
    "softplus": Activation(lambda v, alpha: F.softplus(v), 0.0, 1.0, False),
    "swish": Activation(lambda v, alpha: F.silu(v), 0.0, sqrt(2), False),
}


def bias_act(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    dim: int = 1,
    act: str = "lrelu",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """y = clamp(gain * act(x + bias)); half precision computes in float32.

    Where |y| reaches the clamp the gradient is zero: it passes strictly inside (-clamp, clamp).
    Source: Karras et al. 2020 (StyleGAN2), section 2; Karras et al. 2020 (ADA), appendix.
    """
    row = ACTIVATIONS[act]
    alpha = row.default_alpha if alpha is None else alpha
    gain = row.default_gain if gain is None else gain
    v = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    if bias is not None:
        v = v + bias.to(v.dtype).reshape([-1 if i == dim % x.ndim else 1 for i in range(x.ndim)])
    y = row.function(v, alpha) * gain
    if clamp is not None:
        inside = y.abs() < clamp
        y = torch.where(inside, y, y.detach().clamp(-clamp, clamp))
    return y.to(x.dtype)
