"""StyleGAN2's synthesis in plain PyTorch for inference, with everything folded that is constant.

What runtimes are given: gains are in the weights, noise is scaled, demodulation has its sums, the
gain of the activation is in the scale of the layer, and images leave as bytes.
"""

from __future__ import annotations

from math import sqrt
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import plain
from benchmarks.plain_stylegan2 import unsupported
from fastgan.networks import StyleGAN2Generator
from fastgan.networks.stylegan2_synthesis import SynthesisLayer, ToRGB

WAYS = ("transposed", "phases")
"""How upsampling convolutions are written: a transposed convolution and a depthwise filter, or
both composed into one convolution per output phase, four times the arithmetic in one pass."""


class Styles(nn.Module):
    """[N, w_dim] -> styles, gains folded."""

    def __init__(self, affine: Any, gain: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("weight", affine.weight.detach() * (affine.weight_gain * gain))
        self.register_buffer("bias", affine.bias.detach() * (affine.bias_gain * gain))

    def forward(self, w: Tensor) -> Tensor:
        """Return [N, C]."""
        return F.linear(w, cast(Tensor, self.weight), cast(Tensor, self.bias))


class FoldedConv(nn.Module):
    """Styled convolution; sqrt(2), the activation's gain, is in scale, noise and bias."""

    weight: Tensor
    energy: Tensor
    noise: Tensor
    bias: Tensor
    taps: Tensor

    def __init__(self, source: SynthesisLayer, way: str) -> None:
        super().__init__()
        if source.conv_clamp is not None or not source.use_noise:
            raise unsupported("no conv_clamp and noise", source.conv_clamp)
        self.affine, weight = Styles(source.affine), source.weight.detach()
        self.way = way if source.up == 2 else "same"
        self.register_buffer("weight", _folded(weight, source.resample_filter, self.way))
        self.register_buffer("energy", weight.square().sum(dim=[2, 3]).t().contiguous() / 2)
        noise = source.noise_const * source.noise_strength.detach()
        self.register_buffer("noise", noise[None, None] * sqrt(2))
        self.register_buffer("bias", source.bias.detach()[None, :, None, None] * sqrt(2))
        taps = (source.resample_filter * 4).repeat(len(weight), 1, 1, 1)
        self.register_buffer("taps", taps, persistent=False)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map [N, C_in, h, w] and [N, w_dim] to [N, C_out, H, W]."""
        styles = self.affine(w)
        scale = (styles.square() @ self.energy + 0.5e-8).rsqrt()
        x = x * styles[:, :, None, None]
        if self.way == "transposed":
            x = F.conv_transpose2d(x, self.weight, stride=2)
            x = F.conv2d(x, self.taps, padding=1, groups=self.taps.shape[0])
        else:
            x = F.conv2d(x, self.weight, padding=1)
            x = F.pixel_shuffle(x, 2) if self.way == "phases" else x
        return F.leaky_relu(x * scale[:, :, None, None] + self.noise + self.bias, 0.2)


def _folded(weight: Tensor, taps: Tensor, way: str) -> Tensor:
    if way == "same":
        return weight.clone()
    if way == "transposed":
        return weight.transpose(0, 1).contiguous()
    outputs, inputs = weight.shape[:2]
    padded = F.pad(weight.reshape(-1, 1, 3, 3), (3, 3, 3, 3))
    both = F.conv2d(padded, taps[None, None] * 4).reshape(outputs, inputs, 6, 6)
    phases = [both[:, :, p::2, q::2].flip([2, 3]) for p in (0, 1) for q in (0, 1)]
    return torch.stack(phases, dim=1).flatten(0, 1).contiguous()  # [4 O, I, 3, 3]


class FoldedColors(nn.Module):
    """Styled 1 x 1 convolution to the image."""

    weight: Tensor
    bias: Tensor

    def __init__(self, source: ToRGB) -> None:
        super().__init__()
        self.affine = Styles(source.affine, source.weight_gain)
        self.register_buffer("weight", source.weight.detach().clone())
        self.register_buffer("bias", source.bias.detach().clone())

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Return [N, img_channels, h, w]."""
        return F.conv2d(x * self.affine(w)[:, :, None, None], self.weight, self.bias)


class FoldedSynthesis(nn.Module):
    """ws -> uint8 images [N, H, W, C], or float images [N, C, H, W] with `as_bytes` off.

    Args:
        generator: fastgan's, skip architecture.
        way: one of WAYS.
        channels_last: memory order of the features.
        as_bytes: what comes out.
    """

    const: Tensor
    taps: Tensor

    def __init__(
        self,
        generator: StyleGAN2Generator,
        way: str = "transposed",
        *,
        channels_last: bool = False,
        as_bytes: bool = True,
    ) -> None:
        super().__init__()
        blocks: list[Any] = [
            generator.synthesis.get_submodule(name) for name, _, _ in generator.synthesis.blocks
        ]
        if blocks[0].options.architecture != "skip":
            raise unsupported("architecture 'skip'", blocks[0].options.architecture)
        self.channels_last, self.as_bytes = channels_last, as_bytes
        self.register_buffer("const", blocks[0].const.detach()[None].clone())
        self.register_buffer("taps", blocks[0].resample_filter.clone())
        self.levels = nn.ModuleList()
        for block in blocks:
            layers = [getattr(block, name) for name in ("conv0", "conv1") if hasattr(block, name)]
            convs = nn.ModuleList(FoldedConv(layer, way) for layer in layers)
            self.levels.append(nn.ModuleList([convs, FoldedColors(block.torgb)]))
        self.requires_grad_(False).eval()

    def forward(self, ws: Tensor) -> Tensor:
        """Render [N, num_ws, w_dim]."""
        x = self.const.repeat(ws.shape[0], 1, 1, 1)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        image: Tensor | None = None
        first = 0
        for level in self.levels:
            convs, colors = cast(nn.ModuleList, level)
            for conv in cast(nn.ModuleList, convs):
                x = conv(x, ws[:, first])
                first += 1
            y = colors(x, ws[:, first])
            image = y if image is None else plain.upsample_transposed(image, self.taps) + y
        image = cast(Tensor, image)
        return to_bytes(image) if self.as_bytes else image


def to_bytes(image: Tensor) -> Tensor:
    """Turn [N, C, H, W], nominally in [-1, 1], into uint8 [N, H, W, C]."""
    return (image * 127.5 + 128).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
