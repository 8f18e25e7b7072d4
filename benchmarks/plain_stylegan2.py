"""StyleGAN2 as a good PyTorch programmer writes it without kernels of one's own, for training.

Each network is made from one of fastgan's and starts with its weights, under the same names, so
that gradients compare by name. One weight serves the batch: inputs are scaled by the styles and
outputs demodulated; upsampling is a transposed convolution and a depthwise filter. Only the usual
architecture: skip generator, residual discriminator, no condition, no clamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import plain
from fastgan.networks import DiscriminatorOutput, StyleGAN2Discriminator, StyleGAN2Generator
from fastgan.networks.layers import EqualizedConv2d, FullyConnected
from fastgan.networks.stylegan2_synthesis import NoiseSource, SynthesisLayer, ToRGB


def copied(source: Any) -> nn.Parameter | None:
    """Return a parameter with the values of another, in contiguous memory of its own."""
    return None if source is None else nn.Parameter(source.detach().clone())


def leaky(x: Tensor, bias: Tensor, gain: float = 1.0) -> Tensor:
    """Add a bias per channel, and take the leaky ReLU at gain sqrt(2)."""
    return F.leaky_relu(x + bias[:, None, None], 0.2) * (sqrt(2) * gain)


def unsupported(wish: str, found: Any) -> ValueError:
    """Return the complaint about a network that the plain ones do not mirror."""
    return ValueError(f"plain StyleGAN2: expected {wish}, got {found!r}; choose another network")


class Dense(nn.Module):
    """Fully connected, with the equalised learning rate's gains."""

    def __init__(self, source: FullyConnected) -> None:
        super().__init__()
        self.weight, self.bias = copied(source.weight), copied(source.bias)
        self.gains = source.weight_gain, source.bias_gain
        self.is_linear = source.activation == "linear"

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, in] to [N, out]."""
        weight, bias = cast(Tensor, self.weight), cast(Tensor, self.bias)
        y = F.linear(x, weight * self.gains[0], bias * self.gains[1])
        return y if self.is_linear else F.leaky_relu(y, 0.2) * sqrt(2)


class StyledConv(nn.Module):
    """Modulated 3 x 3 convolution, noise, bias, leaky ReLU."""

    resample_filter: Tensor

    def __init__(self, source: SynthesisLayer) -> None:
        super().__init__()
        if source.conv_clamp is not None or not source.use_noise:
            raise unsupported("no conv_clamp and noise", source.conv_clamp)
        self.affine = Dense(source.affine)
        self.weight, self.bias = copied(source.weight), copied(source.bias)
        self.noise_strength = copied(source.noise_strength)
        self.register_buffer("resample_filter", source.resample_filter.clone())
        self.up, self.size, self.index = source.up, source.size, source.index

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        """Map [N, C_in, h, w], [N, w_dim] and noise [N, 1, H, W] to [N, C_out, H, W]."""
        weight, styles = cast(Tensor, self.weight), self.affine(w)
        scale = (styles.square() @ weight.square().sum(dim=[2, 3]).t() + 1e-8).rsqrt()
        x = x * styles[:, :, None, None]
        if self.up == 2:
            y = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # 2 h + 1
            taps = (self.resample_filter * 4).expand(y.shape[1], 1, -1, -1)
            y = F.conv2d(y, taps, padding=1, groups=y.shape[1])
        else:
            y = F.conv2d(x, weight, padding=1)
        y = y * scale[:, :, None, None] + noise * cast(Tensor, self.noise_strength)
        return leaky(y, cast(Tensor, self.bias))


class Colors(nn.Module):
    """Modulated 1 x 1 convolution to the channels of the image."""

    def __init__(self, source: ToRGB) -> None:
        super().__init__()
        self.affine = Dense(source.affine)
        self.weight, self.bias = copied(source.weight), copied(source.bias)
        self.weight_gain = source.weight_gain

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map [N, C, h, w] and [N, w_dim] to [N, img_channels, h, w]."""
        styles = self.affine(w) * self.weight_gain
        x = x * styles[:, :, None, None]
        return F.conv2d(x, cast(Tensor, self.weight), cast(Tensor, self.bias))


class Level(nn.Module):
    """The layers of one resolution of the generator."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        if hasattr(source, "const"):
            self.const = nn.Parameter(source.const.detach().clone())
        else:
            self.conv0 = StyledConv(source.conv0)
        self.conv1, self.torgb = StyledConv(source.conv1), Colors(source.torgb)

    def convs(self) -> list[StyledConv]:
        """The layers that take noise, in order."""
        return [layer for layer in self.children() if isinstance(layer, StyledConv)]


class PlainSynthesis(nn.Module):
    """w -> image. `compiled`, where it is set, stands in for `render`; it gets tensors alone."""

    def __init__(self, generator: StyleGAN2Generator, *, channels_last: bool = False) -> None:
        super().__init__()
        source = generator.synthesis
        self.names = [name for name, _, _ in source.blocks]
        for name in self.names:
            block = source.get_submodule(name)
            if block.options.architecture != "skip":  # type: ignore[union-attr]
                raise unsupported("architecture 'skip'", block.options)
            self.add_module(name, Level(block))
        self.num_ws, self.channels_last = source.num_ws, channels_last
        self.compiled: Any = None

    def forward(
        self, ws: Tensor, noise_mode: str = "random", noise: NoiseSource | None = None
    ) -> Tensor:
        """Render [N, num_ws, w_dim], with noise from the source or from torch's generator."""
        layers = [conv for name in self.names for conv in self.level(name).convs()]
        drawn = [
            torch.randn(len(ws), 1, *layer.size, dtype=ws.dtype)
            if noise is None
            else noise(layer.index, *layer.size)
            for layer in layers
        ]
        return (self.compiled or self.render)(ws, drawn)

    def render(self, ws: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Render with given noise, one tensor per layer."""
        each_noise, first = iter(noise), 0
        image: Tensor | None = None
        x = self.level("b4").const.repeat(len(ws), 1, 1, 1)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        for name in self.names:
            level = self.level(name)
            for conv in level.convs():
                x = conv(x, ws[:, first], next(each_noise))
                first += 1
            y = level.torgb(x, ws[:, first])
            taps = level.conv1.resample_filter
            image = y if image is None else plain.upsample_transposed(image, taps) + y
        return cast(Tensor, image)

    def level(self, name: str) -> Level:
        """Return the layers of one resolution."""
        return cast(Level, self.get_submodule(name))


class PlainMapping(nn.Module):
    """z -> w, repeated for every layer, and the running mean of w."""

    w_avg: Tensor

    def __init__(self, generator: StyleGAN2Generator) -> None:
        super().__init__()
        source = generator.mapping
        if source.c_dim:
            raise unsupported("c_dim 0", source.c_dim)
        self.names, self.num_ws, self.beta = source.layers, source.num_ws, source.w_avg_beta
        for name in self.names:
            self.add_module(name, Dense(cast(FullyConnected, source.get_submodule(name))))
        self.register_buffer("w_avg", source.w_avg.clone())

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Map [N, z_dim] to [N, num_ws, w_dim]."""
        x = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for name in self.names:
            x = self.get_submodule(name)(x)
        return x[:, None].repeat(1, cast(int, self.num_ws), 1)

    @torch.no_grad()
    def update_average(self, mean_w: Tensor) -> None:
        """Move the running mean of w."""
        self.w_avg.lerp_(mean_w, 1.0 - cast(float, self.beta))


class PlainGenerator(nn.Module):
    """Mapping and synthesis, as fastgan's training step asks for them."""

    def __init__(self, source: StyleGAN2Generator, *, channels_last: bool = False) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.num_ws = source.z_dim, 0, source.num_ws
        self.mapping = PlainMapping(source)
        self.synthesis = PlainSynthesis(source, channels_last=channels_last)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Make images [N, C, H, W] of latents."""
        images: Tensor = self.synthesis(self.mapping(z, c))
        return images


class Conv(nn.Module):
    """Equalised convolution with an optional bias and leaky ReLU, downsampling by 2 where asked."""

    resample_filter: Tensor

    def __init__(self, source: EqualizedConv2d) -> None:
        super().__init__()
        if source.conv_clamp is not None:
            raise unsupported("no conv_clamp", source.conv_clamp)
        self.weight, self.bias = copied(source.weight), copied(source.bias)
        self.register_buffer("resample_filter", source.resample_filter.clone())
        self.weight_gain, self.down, self.padding = source.weight_gain, source.down, source.padding

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """Map [N, C_in, H, W] to [N, C_out, H / down, W / down]."""
        linear = self.bias is None
        weight = cast(Tensor, self.weight) * (self.weight_gain * (gain if linear else 1.0))
        if self.down == 1:
            y = F.conv2d(x, weight, padding=self.padding)
        elif self.padding == 0:
            y = F.conv2d(plain.downsample_strided(x, self.resample_filter), weight)
        else:
            y = plain.conv_down(x, weight, self.resample_filter)
        return y if linear else leaky(y, cast(Tensor, self.bias), gain)


class PlainDiscriminator(nn.Module):
    """Image -> logit. `compiled`, where it is set, stands in for `judge`."""

    def __init__(self, source: StyleGAN2Discriminator, *, channels_last: bool = False) -> None:
        super().__init__()
        self.blocks, self.channels_last, self.c_dim = source.blocks, channels_last, 0
        for name in self.blocks:
            block = nn.Module()
            for key, layer in source.get_submodule(name).named_children():
                block.add_module(key, Conv(cast(EqualizedConv2d, layer)))
            self.add_module(name, block)
        last = source.b4
        self.b4 = nn.Module()
        self.b4.conv, self.b4.fc, self.b4.out = Conv(last.conv), Dense(last.fc), Dense(last.out)
        self.group_size = last.mbstd.group_size
        self.compiled: Any = None

    def forward(self, x: Tensor, c: Tensor | None = None) -> DiscriminatorOutput:
        """Judge [N, C, H, W]."""
        return DiscriminatorOutput((self.compiled or self.judge)(x), {})

    def judge(self, x: Tensor) -> Tensor:
        """Return logits [N, 1]."""
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        for name in self.blocks:
            block: Any = self.get_submodule(name)
            x = block.fromrgb(x) if hasattr(block, "fromrgb") else x
            shortcut = block.skip(x, gain=sqrt(0.5))
            x = block.conv1(block.conv0(x), gain=sqrt(0.5)) + shortcut
        last: Any = self.b4
        x = last.conv(torch.cat([x, self.deviation(x)], dim=1))
        return cast(Tensor, last.out(last.fc(x.flatten(1))))

    def deviation(self, x: Tensor) -> Tensor:
        """Return the minibatch standard deviation as one more channel."""
        batch, channels, height, width = x.shape
        group = max(g for g in range(1, self.group_size + 1) if batch % g == 0)
        y = x.reshape(group, -1, channels, height, width)
        y = (y.var(dim=0, correction=0) + 1e-8).sqrt().mean(dim=[1, 2, 3])  # [N / group]
        return y.repeat(group)[:, None, None, None].expand(-1, 1, height, width)
