"""The variants of the fused modulated convolution, and its specification by the reference's
parts."""

from typing import Any

import torch
from torch import Tensor

from fastgan import reference

Activation = tuple[str, float, float, float]
# Not symmetric, to see a flip; their products are exact in float32.
TAPS = torch.tensor([0.25, 0.5, 0.375, -0.125])
PLAIN: dict[str, Any] = {"up": 1, "padding": (1, 1, 1, 1)}
UP: dict[str, Any] = {"up": 2, "padding": (1, 1, 1, 1)}
# C_out and kernel, padding, up
LAYERS: dict[str, tuple[tuple[int, int, int], dict[str, Any]]] = {
    "plain": ((5, 3, 3), PLAIN),
    "uneven": ((2, 2, 3), {"up": 1, "padding": (3, 0, -1, 2)}),
    "rgb": ((3, 1, 1), {"up": 1, "padding": (0, 0, 0, 0)}),
    "rgba": ((4, 1, 1), {"up": 1, "padding": (0, 0, 0, 0)}),
    "grey": ((1, 1, 1), {"up": 1, "padding": (0, 0, 0, 0)}),
    "up": ((5, 3, 3), UP),
    "up_uneven": ((2, 3, 3), {"up": 2, "padding": (0, 2, -1, 1)}),
}
LRELU = ("lrelu", 0.2, 1.3, 1.1)
SWISH = ("swish", 0.0, 1.4, -1.0)


def specification(
    x: Tensor, weight: Tensor, in_scale: Tensor, out_scale: Tensor | None, noise: Tensor | None,
    bias: Tensor | None, activation: Activation, layer: dict[str, Any],
    taps: Tensor = TAPS,
) -> Tensor:  # fmt: skip
    """The op by the reference's parts; scales, noise and bias may be wider than x."""
    filter = torch.outer(taps, taps) if layer["up"] == 2 else None
    scaled = (x.to(in_scale.dtype) * in_scale[:, :, None, None]).to(x.dtype)
    y = reference.conv2d_resample(scaled, weight, filter, **layer).to(in_scale.dtype)
    y = y if out_scale is None else y * out_scale[:, :, None, None]
    y = y if noise is None else y + noise
    act, alpha, gain, clamp = activation
    limit = None if clamp < 0 else clamp
    return reference.bias_act(y, bias, act=act, alpha=alpha, gain=gain, clamp=limit).to(x.dtype)


def arguments(name: str, x: Tensor, extras: str = "out_scale noise bias") -> list[Tensor | None]:
    """x, weight, in_scale, out_scale, noise and bias; those not in `extras` are None."""
    (out, kernel_h, kernel_w), layer = LAYERS[name]
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    samples, channels = x.shape[:2]
    weight = torch.randn(out, channels, kernel_h, kernel_w).to(x.dtype)
    in_scale, out_scale = torch.randn(samples, channels), torch.randn(samples, out)
    plain = specification(x.double(), weight.double(), in_scale.double(), None, None, None,
                          ("linear", 0.0, 1.0, -1.0), layer)  # fmt: skip
    noise = torch.randn(1 if "one_noise" in extras else samples, 1, *plain.shape[2:])
    return [
        x, weight, in_scale.to(wide), out_scale.to(wide) if "out_scale" in extras else None,
        noise.to(wide) if "noise" in extras else None,
        torch.randn(out).to(wide) if "bias" in extras else None,
    ]  # fmt: skip
