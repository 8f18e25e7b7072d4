"""Layers that the style-based networks share: equalised learning rate and batch statistics.

Weights are stored at unit variance and scaled at run time. Parameter names are the published
ones. The modulated layers are in `stylegan2_synthesis`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor, nn

from fastgan.errors import ConfigError
from fastgan.ops import bias_act, conv2d_resample, minibatch_std, setup_filter
from fastgan.reference.bias_act import ACTIVATIONS


def normalize_2nd_moment(x: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Scale x to a mean square of one along `dim`: x * rsqrt(mean(x^2) + eps).

    Differentiable: any order.
    """
    return x * (x.square().mean(dim=dim, keepdim=True) + eps).rsqrt()


class FullyConnected(nn.Module):
    """y = act(x (g W)^T + lr_multiplier * b), with g = lr_multiplier / sqrt(in_features).

    Args:
        in_features: width of the input.
        out_features: width of the output.
        bias: learn a bias, initialised to `bias_init`.
        activation: one of `fastgan.ops.bias_act`.
        lr_multiplier: factor on the effective learning rate; the weight starts at N(0, 1) over it.
        bias_init: initial bias, as stored.

    Source: Karras et al. 2018 (progressive growing), section 4.1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        activation: str = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), float(bias_init))) if bias else None
        self.weight_gain = lr_multiplier / sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in_features] to [N, out_features] in x's dtype."""
        weight = (self.weight * self.weight_gain).to(x.dtype)
        bias = None if self.bias is None else (self.bias * self.bias_gain).to(x.dtype)
        if self.activation == "linear":
            return torch.nn.functional.linear(x, weight, bias)
        return bias_act(x @ weight.t(), bias, act=self.activation)

    def extra_repr(self) -> str:
        out_features, in_features = self.weight.shape
        return f"{in_features}, {out_features}, activation={self.activation}"


class EqualizedConv2d(nn.Module):
    """Convolution with run-time weight scale 1 / sqrt(C_in k^2), resampling and activation.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd side of the kernel; the padding keeps the size.
        bias: learn a bias, initialised to zero.
        activation: one of `fastgan.ops.bias_act`.
        up: upsampling factor. down: downsampling factor.
        resample_filter: taps of the filter that comes with `up` or `down`.
        conv_clamp: limit on the magnitude of the output; None means no limit.

    Source: Karras et al. 2020 (StyleGAN2), appendix B.
    """

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        bias: bool = True,
        activation: str = "linear",
        up: int = 1,
        down: int = 1,
        resample_filter: Sequence[float] = (1, 3, 3, 1),
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.activation, self.up, self.down, self.conv_clamp = activation, up, down, conv_clamp
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("resample_filter", setup_filter(resample_filter))
        self.weight_gain = 1 / sqrt(in_channels * kernel_size**2)
        self.padding = kernel_size // 2

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """Map [N, C_in, H, W] to [N, C_out, H * up / down, W * up / down], scaled by `gain`."""
        plain = self.activation == "linear" and self.bias is None and self.conv_clamp is None
        weight_gain = self.weight_gain * gain if plain else self.weight_gain
        y = conv2d_resample(
            x,
            (self.weight * weight_gain).to(x.dtype),
            self.resample_filter.float(),
            up=self.up,
            down=self.down,
            padding=self.padding,
            flip_weight=self.up == 1,
        )
        if plain:
            return y
        return bias_act(
            y,
            None if self.bias is None else self.bias.to(x.dtype),
            act=self.activation,
            gain=ACTIVATIONS[self.activation].default_gain * gain,
            clamp=None if self.conv_clamp is None else self.conv_clamp * gain,
        )

    def extra_repr(self) -> str:
        out_channels, in_channels, size, _ = self.weight.shape
        return (
            f"{in_channels}, {out_channels}, kernel_size={size}, up={self.up}, down={self.down}, "
            f"activation={self.activation}"
        )


class MinibatchStdDev(nn.Module):
    """Append the standard deviation over groups of the batch as extra channels.

    Sample n belongs to group n mod (N / G), G being the largest divisor of N up to `group_size`.
    Each group's biased standard deviation (eps 1e-8 under the root) is averaged over pixels and
    over the channels of each of the `num_channels` slices, and repeated over the image.

    Differentiable: any order.

    Source: Karras et al. 2018 (progressive growing), section 3.
    """

    def __init__(self, group_size: int, num_channels: int = 1) -> None:
        super().__init__()
        if group_size < 1 or num_channels < 1:
            raise ConfigError(
                "mbstd_group_size and mbstd_num_channels must be at least 1, "
                f"got {group_size} and {num_channels}"
            )
        self.group_size, self.num_channels = group_size, num_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to [N, C + num_channels, H, W]."""
        return minibatch_std(x, self.group_size, self.num_channels)

    def extra_repr(self) -> str:
        return f"group_size={self.group_size}, num_channels={self.num_channels}"


def freeze_parameters(module: nn.Module) -> None:
    """Turn the module's own parameters into buffers of the same names: saved, never trained."""
    for name, parameter in list(module.named_parameters(recurse=False)):
        delattr(module, name)
        module.register_buffer(name, parameter.detach().clone())
