"""Specification of normalize_act: normalise, scale and shift, apply an activation, scale, clamp."""

from __future__ import annotations

import torch
from torch import Tensor

from fastgan.reference.bias_act import bias_act

# Dimensions that statistics are taken over.
STATISTICS = {"instance": (2, 3), "batch": (0, 2, 3), "layer": (1, 2, 3)}


def normalize_act(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    stats: str = "instance",
    eps: float = 1e-5,
    act: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    mean: Tensor | None = None,
    var: Tensor | None = None,
) -> Tensor:
    """y = clamp(gain * act(weight * (x - mean) / sqrt(var + eps) + bias)), half types in float32.

    x [N, C, H, W], weight and bias [C] or [N, C], given mean and var [C]: constants. Otherwise
    mean and biased variance over pixels ("instance"), batch and pixels ("batch") or channels and
    pixels ("layer"). Sources: Ioffe & Szegedy 2015 (batch), Ulyanov et al. 2016 (instance), Ba et
    al. 2016 (layer), Huang & Belongie 2017 (weight and bias per sample).
    """
    v = x.to(torch.promote_types(x.dtype, torch.float32))
    if mean is None or var is None:
        center = v.mean(STATISTICS[stats], keepdim=True)
        spread = (v - center).square().mean(STATISTICS[stats], keepdim=True)
    else:
        center, spread = (t.detach().to(v.dtype).reshape(1, -1, 1, 1) for t in (mean, var))
    v = (v - center) / (spread + eps).sqrt()
    if weight is not None:
        v = v * _over_pixels(weight, v)
    if bias is not None:
        v = v + _over_pixels(bias, v)
    return bias_act(v, act=act, alpha=alpha, gain=gain, clamp=clamp).to(x.dtype)


def _over_pixels(parameter: Tensor, v: Tensor) -> Tensor:
    return parameter.to(v.dtype).reshape(-1, v.shape[1], 1, 1)
