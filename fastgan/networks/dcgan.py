"""DCGAN: a stack of strided convolutions each way, with batch normalisation or spectral norm.

Layer numbers in `main` are those of the well-known 64 x 64 stack, so its state dicts load.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from fastgan.errors import ConfigError
from fastgan.networks.base import (
    DiscriminatorOutput,
    check_condition,
    check_images,
    check_latent,
)
from fastgan.nn import spectral_norm as normalize_spectrum
from fastgan.nn import spectral_norm_group
from fastgan.ops import bias_act, conv4x4, conv4x4_transposed

MAX_MULTIPLIER = 16  # of `channels`, at the 4 x 4 end


class Activation(nn.Module):
    """An activation of `fastgan.ops.bias_act` at gain 1, as a module."""

    def __init__(self, act: str) -> None:
        super().__init__()
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return bias_act(x, None, act=self.act, gain=1.0)

    def extra_repr(self) -> str:
        return self.act


class HalvingConv2d(nn.Conv2d):
    """A 4 x 4 convolution with stride 2 and padding 1 through `fastgan.ops.conv4x4`."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool) -> None:
        super().__init__(in_channels, out_channels, 4, 2, 1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        return conv4x4(input, self.weight, self.bias)


class DoublingConv2d(nn.ConvTranspose2d):
    """The transpose of that, without a bias."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 4, 2, 1, bias=False)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is not None:
            return super().forward(input, output_size)
        return conv4x4_transposed(input, self.weight)


def _in_best_layout(x: Tensor) -> Tensor:
    """Channels last on the CPU, where the convolutions are faster in it and all layers keep it."""
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x


def _widths(img_resolution: int, channels: int) -> list[int]:
    """Channels from the 4 x 4 level to the one before the image: 8c, 4c, 2c, c for 64."""
    power = isinstance(img_resolution, int) and img_resolution & (img_resolution - 1) == 0
    if not power or img_resolution < 16:
        raise ConfigError(
            f"DCGAN: img_resolution must be a power of two >= 16, got {img_resolution!r}"
        )
    if channels < 1:
        raise ConfigError(f"DCGAN: channels must be at least 1, got {channels}")
    levels = img_resolution.bit_length() - 3
    return [channels * min(2**i, MAX_MULTIPLIER) for i in reversed(range(levels))]


@torch.no_grad()
def _initialize(module: nn.Module) -> None:
    """Convolutions from N(0, 0.02), batch-norm scales from N(1, 0.02), biases zero."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


class DCGANGenerator(nn.Module):
    """z -> image through transposed convolutions, batch norm and ReLU, ending in tanh.

    Args:
        z_dim: width of the latent.
        c_dim: width of the condition, concatenated to z; 0 for none.
        img_resolution: side of the image, a power of two >= 16.
        img_channels: channels of the image.
        channels: channels of the level before the image; each lower level doubles them, up to
            16 times.

    Raises:
        ConfigError: a setting cannot work.

    Source: Radford et al. 2016, "Unsupervised Representation Learning with DCGANs".
    """

    def __init__(
        self,
        z_dim: int = 100,
        c_dim: int = 0,
        img_resolution: int = 64,
        img_channels: int = 3,
        *,
        channels: int = 64,
    ) -> None:
        super().__init__()
        if z_dim < 1 or c_dim < 0 or img_channels < 1:
            raise ConfigError(
                "DCGAN: z_dim and img_channels must be at least 1 and c_dim at least 0, got "
                f"{z_dim}, {img_channels} and {c_dim}"
            )
        self.z_dim, self.c_dim = z_dim, c_dim
        self.img_resolution, self.img_channels = (img_resolution, img_resolution), img_channels
        widths = _widths(img_resolution, channels)
        layers: list[nn.Module] = []
        before = z_dim + c_dim
        for i, width in enumerate(widths):
            if i == 0:
                layers.append(nn.ConvTranspose2d(before, width, 4, 1, 0, bias=False))
            else:
                layers.append(DoublingConv2d(before, width))
            layers += [nn.BatchNorm2d(width), Activation("relu")]
            before = width
        layers.append(DoublingConv2d(before, img_channels))
        self.main = nn.Sequential(*layers, Activation("tanh"))
        self.apply(_initialize)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Generate images.

        Args:
            z: [N, z_dim], standard normal.
            c: [N, c_dim], or None where c_dim is 0.

        Returns:
            [N, img_channels, H, W] in [-1, 1].

        Raises:
            ValueError: a shape does not fit.
        """
        check_latent("DCGANGenerator", z, self.z_dim)
        c = check_condition("DCGANGenerator", c, self.c_dim, z.shape[0])
        x = z if c is None else torch.cat([z, c.to(z.dtype)], dim=1)
        first, *others = self.main
        x = _in_best_layout(first(x[:, :, None, None]))
        for layer in others:
            x = layer(x)
        return x


class DCGANDiscriminator(nn.Module):
    """image -> logit through strided convolutions, leaky ReLU, and batch norm or spectral norm.

    Args:
        c_dim: width of the condition, appended to the image as constant planes; 0 for none.
        img_resolution: side of the image, a power of two >= 16.
        img_channels: channels of the image.
        channels: channels after the first convolution; each further one doubles them, up to 16
            times.
        spectral_norm: normalise every convolution by its spectral norm, with biases and without
            batch norm.

    Raises:
        ConfigError: a setting cannot work.

    Source: Radford et al. 2016; Miyato et al. 2018 for spectral normalisation.
    """

    def __init__(
        self,
        c_dim: int = 0,
        img_resolution: int = 64,
        img_channels: int = 3,
        *,
        channels: int = 64,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        self.c_dim, self.img_channels = c_dim, img_channels
        self.img_resolution = (img_resolution, img_resolution)
        self.spectral_norm = spectral_norm
        widths = list(reversed(_widths(img_resolution, channels)))
        layers: list[nn.Module] = []
        before = img_channels + c_dim
        for i, width in enumerate(widths):
            layers.append(HalvingConv2d(before, width, bias=spectral_norm))
            if i > 0:  # the place is kept, so that the numbers of the layers do not depend on it
                layers.append(nn.Identity() if spectral_norm else nn.BatchNorm2d(width))
            layers.append(Activation("lrelu"))
            before = width
        layers.append(nn.Conv2d(before, 1, 4, 1, 0, bias=spectral_norm))
        self.main = nn.Sequential(*layers)
        self.apply(_initialize)
        if spectral_norm:
            for layer in self.main:
                if isinstance(layer, nn.Conv2d):
                    normalize_spectrum(layer)

    def forward(self, x: Tensor, c: Tensor | None = None) -> DiscriminatorOutput:
        """Judge images.

        Args:
            x: [N, img_channels, H, W] in [-1, 1].
            c: [N, c_dim], or None where c_dim is 0.

        Returns:
            logits [N, 1]; features "b{r}": the activations [N, C, r, r] after each convolution.

        Raises:
            TypeError: images are not floating point.
            ValueError: a shape does not fit.
        """
        check_images("DCGANDiscriminator", x, self.img_channels, self.img_resolution)
        c = check_condition("DCGANDiscriminator", c, self.c_dim, x.shape[0])
        if c is not None:
            planes = c.to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
            x = torch.cat([x, planes], dim=1)
        with spectral_norm_group(self.main) if self.spectral_norm else nullcontext():
            return self._judge(x)

    def _judge(self, x: Tensor) -> DiscriminatorOutput:
        features = {}
        x = _in_best_layout(x)
        for layer in self.main:
            x = layer(x)
            if isinstance(layer, Activation):
                features[f"b{x.shape[2]}"] = x
        return DiscriminatorOutput(x.flatten(1), features)
