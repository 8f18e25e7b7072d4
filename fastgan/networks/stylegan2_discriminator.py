"""The StyleGAN2 discriminator: blocks from the image down to 4 x 4, and the final judgement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt

import torch
from torch import Tensor, nn

from fastgan.errors import ConfigError
from fastgan.networks.base import DiscriminatorOutput, check_condition, check_images
from fastgan.networks.geometry import (
    HalfPrecision,
    Pyramid,
    Widths,
    check_choice,
    half_type,
    pyramid,
)
from fastgan.networks.layers import (
    EqualizedConv2d,
    FullyConnected,
    MinibatchStdDev,
    freeze_parameters,
)
from fastgan.networks.mapping import MappingNetwork
from fastgan.ops import downsample2d, setup_filter


@dataclass(frozen=True)
class DiscriminatorOptions:
    """What all blocks of a discriminator share."""

    img_channels: int
    architecture: str = "resnet"
    conv_clamp: float | None = None
    resample_filter: Sequence[float] = (1, 3, 3, 1)
    widths: Widths = field(default_factory=Widths)
    half: HalfPrecision = field(default_factory=HalfPrecision)

    def from_rgb(self, out_channels: int) -> EqualizedConv2d:
        """The layer that lifts an image to features."""
        return EqualizedConv2d(
            self.img_channels, out_channels, 1, activation="lrelu", conv_clamp=self.conv_clamp,
            resample_filter=self.resample_filter,
        )  # fmt: skip


class DiscriminatorBlock(nn.Module):
    """All layers of one level: [fromrgb,] conv0, conv1 with down 2, [skip].

    Args:
        level: nominal resolution of the input.
        is_first: whether this is the highest level, which reads the image.
        options: what all blocks share.
    """

    resample_filter: Tensor

    def __init__(self, level: int, *, top: int, options: DiscriminatorOptions) -> None:
        super().__init__()
        channels, out_channels = options.widths(level), options.widths(level // 2)
        taps, clamp = options.resample_filter, options.conv_clamp
        self.options = options
        self.use_half = options.half.covers(level, top)
        self.register_buffer("resample_filter", setup_filter(taps))
        if level == top or options.architecture == "skip":
            self.fromrgb = options.from_rgb(channels)
        self.conv0 = EqualizedConv2d(
            channels, channels, 3, activation="lrelu", conv_clamp=clamp, resample_filter=taps
        )
        self.conv1 = EqualizedConv2d(
            channels, out_channels, 3, activation="lrelu", down=2, conv_clamp=clamp,
            resample_filter=taps,
        )  # fmt: skip
        if options.architecture == "resnet":
            self.skip = EqualizedConv2d(
                channels, out_channels, 1, bias=False, down=2, resample_filter=taps
            )

    def layers(self) -> list[nn.Module]:
        """The layers in the order in which they are frozen."""
        names = ("fromrgb", "conv0", "conv1", "skip")
        return [getattr(self, name) for name in names if hasattr(self, name)]

    def forward(self, x: Tensor | None, img: Tensor, force_fp32: bool) -> tuple[Tensor, Tensor]:
        """Reduce features x [N, C, h, w] (None at the top) and, in "skip", the image, by 2."""
        half, full = self.options.half, self.conv0.weight.dtype
        if hasattr(self, "fromrgb"):
            small = half.cast(img, full, half_level=self.use_half, force_fp32=force_fp32)
            lifted = self.fromrgb(small)
            x = lifted if x is None else lifted + x.to(lifted.dtype)
            if self.options.architecture == "skip":
                img = downsample2d(small, self.resample_filter.float())
        y = half.cast(x, full, half_level=self.use_half, force_fp32=force_fp32)  # type: ignore[arg-type]
        if self.options.architecture != "resnet":
            return self.conv1(self.conv0(y)), img
        shortcut = self.skip(y, gain=sqrt(0.5))
        return shortcut + self.conv1(self.conv0(y), gain=sqrt(0.5)), img


class DiscriminatorEpilogue(nn.Module):
    """From 4 x 4 features to a logit: minibatch statistics, conv, fc, out, projection on c."""

    def __init__(
        self,
        size: tuple[int, int],
        *,
        cmap_dim: int,
        mbstd_group_size: int,
        mbstd_num_channels: int,
        options: DiscriminatorOptions,
    ) -> None:
        super().__init__()
        channels = options.widths(4)
        if options.architecture == "skip":
            self.fromrgb = options.from_rgb(channels)
        if mbstd_num_channels > 0:
            if channels % mbstd_num_channels:
                raise ConfigError(
                    f"mbstd_num_channels must divide the {channels} channels of the 4 x 4 level, "
                    f"got {mbstd_num_channels}"
                )
            self.mbstd = MinibatchStdDev(mbstd_group_size, mbstd_num_channels)
        self.conv = EqualizedConv2d(
            channels + mbstd_num_channels, channels, 3, activation="lrelu",
            conv_clamp=options.conv_clamp, resample_filter=options.resample_filter,
        )  # fmt: skip
        self.fc = FullyConnected(channels * size[0] * size[1], channels, activation="lrelu")
        self.out = FullyConnected(channels, 1 if cmap_dim == 0 else cmap_dim)
        self.cmap_dim = cmap_dim

    def forward(self, x: Tensor, img: Tensor, cmap: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return logits [N, 1] and the last hidden layer [N, C], in the parameters' dtype."""
        x = x.to(self.conv.weight.dtype)
        if hasattr(self, "fromrgb"):
            x = x + self.fromrgb(img.to(x.dtype))
        if hasattr(self, "mbstd"):
            x = self.mbstd(x)
        hidden = self.fc(self.conv(x).flatten(1))  # [N, C]
        logits = self.out(hidden)
        if cmap is not None:
            logits = (logits * cmap).sum(dim=1, keepdim=True) / sqrt(self.cmap_dim)
        return logits, hidden


class StyleGAN2Discriminator(nn.Module):
    """Judge images: D(img, c) -> logits and features.

    Parameter and buffer names are the published ones (`b32.conv0.weight`, `b4.out.weight`, ...).

    Args:
        c_dim: width of the condition; 0 makes an unconditional network.
        img_resolution: side of a square image, or (height, width), as in the generator.
        img_channels: channels of the image.
        architecture: "resnet", "skip" or "orig".
        channel_base: a level r has min(channel_base // r, channel_max) channels.
        channel_max: see `channel_base`.
        num_fp16_res: so many of the highest levels (never below 8) run in `half_dtype` on CUDA.
        conv_clamp: limit on the magnitude of every convolution's output; None means no limit.
        cmap_dim: width of the mapped condition; None means the channels of the 4 x 4 level.
        mapping_layers: fully connected layers on the condition.
        mbstd_group_size: largest group of the minibatch standard deviation; the group used is the
            largest divisor of the batch (of the micro-batch, when there is one) up to it.
        mbstd_num_channels: its channels; 0 leaves it out.
        freeze_layers: so many layers from the image inwards become buffers, never trained.
        resample_filter: taps of the filter that comes with downsampling.
        half_dtype: torch.float16 or torch.bfloat16, or its name.
        half_on_cpu: run the half-precision levels in half on the CPU, too.

    Raises:
        ConfigError: a setting cannot work.

    Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN"; Mo et al.
    2020 for frozen layers.
    """

    def __init__(
        self,
        c_dim: int,
        img_resolution: int | tuple[int, int],
        img_channels: int,
        *,
        architecture: str = "resnet",
        channel_base: int = 32768,
        channel_max: int = 512,
        num_fp16_res: int = 0,
        conv_clamp: float | None = None,
        cmap_dim: int | None = None,
        mapping_layers: int = 8,
        mbstd_group_size: int = 4,
        mbstd_num_channels: int = 1,
        freeze_layers: int = 0,
        resample_filter: Sequence[float] = (1, 3, 3, 1),
        half_dtype: torch.dtype | str = torch.float16,
        half_on_cpu: bool = False,
    ) -> None:
        super().__init__()
        check_choice("architecture", architecture, ("resnet", "skip", "orig"))
        plan = pyramid(img_resolution)
        options = DiscriminatorOptions(
            img_channels, architecture, conv_clamp, resample_filter,
            Widths(channel_base, channel_max),
            HalfPrecision(num_fp16_res, half_type(half_dtype), half_on_cpu),
        )  # fmt: skip
        width = options.widths(4) if cmap_dim is None else cmap_dim
        self.c_dim, self.cmap_dim = c_dim, width if c_dim > 0 else 0
        self.img_resolution, self.img_channels = plan.image, img_channels
        self._add_blocks(plan, options, freeze_layers)
        self.b4 = DiscriminatorEpilogue(
            plan.base, cmap_dim=self.cmap_dim, mbstd_group_size=mbstd_group_size,
            mbstd_num_channels=mbstd_num_channels, options=options,
        )  # fmt: skip
        if c_dim > 0:
            self.mapping = MappingNetwork(
                0, c_dim, self.cmap_dim, None, num_layers=mapping_layers, w_avg_beta=None
            )

    def _add_blocks(self, plan: Pyramid, options: DiscriminatorOptions, freeze: int) -> None:
        self.blocks = [f"b{level}" for level in reversed(plan.levels[1:])]
        layers: list[nn.Module] = []
        for name, level in zip(self.blocks, reversed(plan.levels[1:]), strict=True):
            block = DiscriminatorBlock(level, top=plan.levels[-1], options=options)
            self.add_module(name, block)
            layers += block.layers()
        if not 0 <= freeze <= len(layers):
            raise ConfigError(f"freeze_layers must be in 0..{len(layers)}, got {freeze}")
        for layer in layers[:freeze]:
            freeze_parameters(layer)

    def forward(
        self, img: Tensor, c: Tensor | None = None, force_fp32: bool = False
    ) -> DiscriminatorOutput:
        """Judge a batch of images.

        Args:
            img: [N, img_channels, H, W], floating point, nominally in [-1, 1].
            c: [N, c_dim], or None where c_dim is 0.
            force_fp32: run half-precision levels in the parameters' own type.

        Returns:
            logits [N, 1] in the parameters' dtype; features of every block: "b{r}" is the output
            of block r, [N, C, r / 2, r / 2] (in half where the block runs in half), and "b4" the
            last hidden layer, [N, C].

        Raises:
            TypeError: images are not floating point.
            ValueError: a shape does not fit.

        Differentiable: any order in img and c.
        """
        check_images("discriminator", img, self.img_channels, self.img_resolution)
        c = check_condition("discriminator", c, self.c_dim, img.shape[0])
        x, features = None, {}
        for name in self.blocks:
            x, img = self.get_submodule(name)(x, img, force_fp32)
            features[name] = x
        cmap = None if c is None else self.mapping(None, c)
        logits, features["b4"] = self.b4(x, img, cmap)
        return DiscriminatorOutput(logits, features)
