"""Specification of noise_bias_act: add noise and a bias, apply an activation, scale, clamp."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.reference.bias_act import bias_act


def noise_bias_act(
    x: Tensor,
    noise: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    act: str = "lrelu",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """y = clamp(gain * act(x + noise + bias)); half precision computes in float32.

    x [N, C, H, W], noise [N or 1, 1, H, W], bias [C]. Where |y| reaches the clamp the gradient is
    zero. Source: Karras et al. 2020 (StyleGAN2), section 2.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    v = x.to(wide)
    if noise is not None:
        v = v + noise.to(wide)
    wide_bias = None if bias is None else bias.to(wide)
    return bias_act(v, wide_bias, act=act, alpha=alpha, gain=gain, clamp=clamp).to(x.dtype)
