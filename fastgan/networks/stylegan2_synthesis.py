"""The synthesis network w -> image: modulated layers and blocks, assembled level by level.

The mapping network is in `mapping`; both meet in `stylegan2_generator`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import cast

import torch
from torch import Tensor, nn

from fastgan.networks.geometry import HalfPrecision, Pyramid, Widths, check_choice
from fastgan.networks.layers import EqualizedConv2d, FullyConnected
from fastgan.ops import modulated_conv2d, setup_filter, upsample2d

NOISE_MODES = ("random", "const", "none")

NoiseSource = Callable[[int, int, int], Tensor]
"""noise(layer_index, height, width) -> [N, 1, height, width], standard normal."""


@dataclass(frozen=True)
class SynthesisOptions:
    """What all blocks of a synthesis network share."""

    w_dim: int
    img_channels: int
    architecture: str = "skip"
    conv_clamp: float | None = None
    resample_filter: Sequence[float] = (1, 3, 3, 1)
    widths: Widths = field(default_factory=Widths)
    half: HalfPrecision = field(default_factory=HalfPrecision)
    use_noise: bool = True


class SynthesisLayer(nn.Module):
    """Style-modulated 3 x 3 convolution, noise, bias and leaky ReLU.

    y = clamp(g sqrt(2) lrelu(modulated_conv2d(x, W, A(w)) + strength * noise + b)).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        size: height and width of the output.
        index: number of this layer in the network, handed to a noise source.
        up: upsampling factor.
        options: what all blocks share.

    Source: Karras et al. 2020 (StyleGAN2), section 2.2.
    """

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        size: tuple[int, int],
        index: int,
        up: int,
        options: SynthesisOptions,
    ) -> None:
        super().__init__()
        self.size, self.index, self.up, self.conv_clamp = size, index, up, options.conv_clamp
        self.affine = FullyConnected(options.w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("resample_filter", setup_filter(options.resample_filter))
        self.use_noise = options.use_noise
        if self.use_noise:
            self.noise_strength = nn.Parameter(torch.zeros([]))
            self.register_buffer("noise_const", torch.randn(size))

    def forward(
        self,
        x: Tensor,
        w: Tensor,
        *,
        noise_mode: str = "random",
        noise: NoiseSource | None = None,
        gain: float = 1.0,
    ) -> Tensor:
        """Map x [N, C_in, h, w] and w [N, w_dim] to [N, C_out, *size] in x's dtype."""
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return modulated_conv2d(
            x,
            self.weight,
            self.affine(w),
            noise=self._noise(x, noise_mode, noise),
            up=self.up,
            padding=1,
            resample_filter=self.resample_filter.float(),
            flip_weight=self.up == 1,
            bias=self.bias,
            act="lrelu",
            gain=sqrt(2) * gain,
            clamp=clamp,
        )

    def _noise(self, x: Tensor, mode: str, source: NoiseSource | None) -> Tensor | None:
        if mode == "none" or not self.use_noise:
            return None
        if mode == "const":
            return self.noise_const[None, None] * self.noise_strength
        shape = (x.shape[0], 1, *self.size)
        if source is None:
            drawn = torch.randn(shape, device=x.device, dtype=self.weight.dtype)
            return drawn * self.noise_strength
        drawn = source(self.index, *self.size)
        if tuple(drawn.shape) != shape:
            raise ValueError(
                f"synthesis: noise(layer {self.index}) must return {shape}, "
                f"got {tuple(drawn.shape)}"
            )
        return drawn.to(self.weight) * self.noise_strength


class ToRGB(nn.Module):
    """Style-modulated 1 x 1 convolution to image channels, without demodulation.

    y = clamp(modulated_conv2d(x, W, A(w) / sqrt(C_in)) + b).
    """

    def __init__(self, in_channels: int, options: SynthesisOptions) -> None:
        super().__init__()
        self.conv_clamp = options.conv_clamp
        self.affine = FullyConnected(options.w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(options.img_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(options.img_channels))
        self.weight_gain = 1 / sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map x [N, C_in, h, w] and w [N, w_dim] to [N, img_channels, h, w] in x's dtype."""
        styles = self.affine(w) * self.weight_gain
        return modulated_conv2d(
            x, self.weight, styles, demodulate=False, bias=self.bias, clamp=self.conv_clamp
        )


class SynthesisBlock(nn.Module):
    """All layers of one level: [conv0 with up 2,] conv1, [torgb,] [skip].

    Args:
        level: nominal resolution, 4 for the first block.
        plan: sizes of the levels.
        first_layer: number of the block's first convolution in the network.
        options: what all blocks share.
    """

    resample_filter: Tensor

    def __init__(
        self, level: int, *, plan: Pyramid, first_layer: int, options: SynthesisOptions
    ) -> None:
        super().__init__()
        top, size, channels = plan.levels[-1], plan.size(level), options.widths(level)
        self.options = options
        self.use_half = options.half.covers(level, top)
        self.register_buffer("resample_filter", setup_filter(options.resample_filter))
        index = first_layer
        if level == 4:
            self.const = nn.Parameter(torch.randn(channels, *size))
        else:
            in_channels = options.widths(level // 2)
            self.conv0 = SynthesisLayer(
                in_channels, channels, size=size, index=index, up=2, options=options
            )
            index += 1
        self.conv1 = SynthesisLayer(
            channels, channels, size=size, index=index, up=1, options=options
        )
        if options.architecture == "skip" or level == top:
            self.torgb = ToRGB(channels, options)
        if options.architecture == "resnet" and level > 4:
            self.skip = EqualizedConv2d(
                in_channels, channels, 1, bias=False, up=2, resample_filter=options.resample_filter
            )
        self.num_conv = 1 if level == 4 else 2
        self.num_torgb = 1 if hasattr(self, "torgb") else 0

    def forward(
        self,
        x: Tensor | None,
        img: Tensor | None,
        ws: Tensor,
        *,
        noise_mode: str,
        noise: NoiseSource | None,
        force_fp32: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Extend the features x and the image img by one level.

        Args:
            x: [N, C_in, h / 2, w / 2], None for the first block.
            img: [N, img_channels, h / 2, w / 2], None before the first torgb.
            ws: [N, num_conv + num_torgb, w_dim], in the order of the layers.
            noise_mode: as in `SynthesisNetwork`. noise: as there. force_fp32: as there.
        """
        half = self.options.half
        each_w = iter(ws.unbind(dim=1))
        y = self.const.repeat(ws.shape[0], 1, 1, 1) if x is None else x
        y = half.cast(y, self.conv1.weight.dtype, half_level=self.use_half, force_fp32=force_fp32)
        residual = hasattr(self, "skip")
        shortcut = self.skip(y, gain=sqrt(0.5)) if residual else None
        if x is not None:
            y = self.conv0(y, next(each_w), noise_mode=noise_mode, noise=noise)
        gain = sqrt(0.5) if residual else 1.0
        y = self.conv1(y, next(each_w), noise_mode=noise_mode, noise=noise, gain=gain)
        y = y if shortcut is None else shortcut + y

        if img is not None:
            img = upsample2d(img, self.resample_filter.float())
        if self.num_torgb:
            rgb = self.torgb(y, next(each_w)).to(self.conv1.weight.dtype).contiguous()
            img = rgb if img is None else img + rgb
        return y, img


class SynthesisNetwork(nn.Module):
    """w -> image, from a learned constant through one block per level.

    A block takes num_conv + num_torgb of the ws, and the next block starts after its num_conv:
    torgb shares its w with the next block's first convolution.

    Args:
        plan: sizes of the levels.
        options: what all blocks share.

    Source: Karras et al. 2020 (StyleGAN2), section 4 and figure 7.
    """

    def __init__(self, plan: Pyramid, options: SynthesisOptions) -> None:
        super().__init__()
        check_choice("architecture", options.architecture, ("skip", "resnet", "orig"))
        self.w_dim = options.w_dim
        self.blocks: list[tuple[str, int, int]] = []  # name, first w, end of its ws
        num_conv = 0
        for level in plan.levels:
            block = SynthesisBlock(level, plan=plan, first_layer=num_conv, options=options)
            self.add_module(f"b{level}", block)
            end = num_conv + block.num_conv + block.num_torgb
            self.blocks.append((f"b{level}", num_conv, end))
            num_conv += block.num_conv
        self.num_ws = num_conv + 1

    def forward(
        self,
        ws: Tensor,
        noise_mode: str = "random",
        noise: NoiseSource | None = None,
        force_fp32: bool = False,
    ) -> Tensor:
        """Render images from styles.

        Args:
            ws: [N, num_ws, w_dim].
            noise_mode: "random" draws noise per call, "const" uses the stored noise, "none" none.
            noise: source of the random draws, order-free by layer index; None means torch's
                global generator. Only with noise_mode "random".
            force_fp32: run half-precision levels in the parameters' own type.

        Returns:
            [N, img_channels, H, W], nominally in [-1, 1], in the parameters' dtype, contiguous.

        Raises:
            ValueError: ws, noise_mode or noise does not fit.

        Differentiable: any order in ws.
        """
        self._check(ws, noise_mode, noise)
        x: Tensor | None = None
        img: Tensor | None = None
        for name, first, end in self.blocks:
            x, img = self.get_submodule(name)(
                x, img, ws[:, first:end], noise_mode=noise_mode, noise=noise, force_fp32=force_fp32
            )
        return cast(Tensor, img)  # the last block always makes an image

    def _check(self, ws: Tensor, noise_mode: str, noise: NoiseSource | None) -> None:
        if ws.ndim != 3 or tuple(ws.shape[1:]) != (self.num_ws, self.w_dim):
            raise ValueError(
                f"synthesis: ws must be [N, {self.num_ws}, {self.w_dim}], got {tuple(ws.shape)}"
            )
        if noise_mode not in NOISE_MODES:
            raise ValueError(
                f"synthesis: noise_mode must be one of {list(NOISE_MODES)}, got {noise_mode!r}"
            )
        if noise is not None and noise_mode != "random":
            raise ValueError(f"synthesis: noise needs noise_mode 'random', got {noise_mode!r}")
