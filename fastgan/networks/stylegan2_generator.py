"""The StyleGAN2 generator: mapping and synthesis under one roof. No layers of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fastgan.errors import ConfigError
from fastgan.networks.geometry import HalfPrecision, Widths, half_type, pyramid
from fastgan.networks.mapping import MappingNetwork
from fastgan.networks.stylegan2_synthesis import (
    NoiseSource,
    SynthesisNetwork,
    SynthesisOptions,
)


class StyleGAN2Generator(nn.Module):
    """Generate images from latents: G(z, c) = synthesis(mapping(z, c)).

    Parameter and buffer names are the published ones (`mapping.fc0.weight`,
    `synthesis.b4.conv1.affine.weight`, ...), so published state dicts load by name.

    Args:
        z_dim: width of the latent z.
        c_dim: width of the condition; 0 makes an unconditional network.
        w_dim: width of the intermediate latent w.
        img_resolution: side of a square image, or (height, width): a small base times a power of
            two. Blocks are named by level, b4, b8, ..., whatever the base.
        img_channels: channels of the image.
        channel_base: a level r has min(channel_base // r, channel_max) channels.
        channel_max: see `channel_base`.
        mapping_layers: fully connected layers of the mapping network.
        mapping_lr_multiplier: their learning-rate factor.
        w_avg_beta: decay of the running mean of w.
        architecture: "skip", "resnet" or "orig".
        num_fp16_res: so many of the highest levels (never below 8) run in `half_dtype` on CUDA.
        conv_clamp: limit on the magnitude of every convolution's output; None means no limit.
        resample_filter: taps of the filter that comes with upsampling.
        half_dtype: torch.float16 or torch.bfloat16, or its name.
        half_on_cpu: run the half-precision levels in half on the CPU, too.
        use_noise: False leaves out the noise inputs and their parameters.

    Raises:
        ConfigError: a setting cannot work.

    Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN".
    """

    def __init__(
        self,
        z_dim: int,
        c_dim: int,
        w_dim: int,
        img_resolution: int | tuple[int, int],
        img_channels: int,
        *,
        channel_base: int = 32768,
        channel_max: int = 512,
        mapping_layers: int = 8,
        mapping_lr_multiplier: float = 0.01,
        w_avg_beta: float = 0.995,
        architecture: str = "skip",
        num_fp16_res: int = 0,
        conv_clamp: float | None = None,
        resample_filter: Sequence[float] = (1, 3, 3, 1),
        half_dtype: torch.dtype | str = torch.float16,
        half_on_cpu: bool = False,
        use_noise: bool = True,
    ) -> None:
        super().__init__()
        if z_dim < 1 or img_channels < 1:
            raise ConfigError(
                f"z_dim and img_channels must be at least 1, got {z_dim} and {img_channels}"
            )
        plan = pyramid(img_resolution)
        options = SynthesisOptions(
            w_dim, img_channels, architecture, conv_clamp, resample_filter,
            Widths(channel_base, channel_max),
            HalfPrecision(num_fp16_res, half_type(half_dtype), half_on_cpu), use_noise,
        )  # fmt: skip
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.img_resolution, self.img_channels = plan.image, img_channels
        self.synthesis = SynthesisNetwork(plan, options)
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(
            z_dim, c_dim, w_dim, self.num_ws, num_layers=mapping_layers,
            lr_multiplier=mapping_lr_multiplier, w_avg_beta=w_avg_beta,
        )  # fmt: skip

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: str = "random",
        noise: NoiseSource | None = None,
        force_fp32: bool = False,
    ) -> Tensor:
        """Generate a batch of images.

        Args:
            z: [N, z_dim], standard normal.
            c: [N, c_dim], or None where c_dim is 0.
            truncation_psi: 1 is the full distribution, 0 the mean image; see `MappingNetwork`.
            truncation_cutoff: only so many of the first styles are truncated.
            noise_mode: "random", "const" or "none"; see `SynthesisNetwork`.
            noise: source of the random noise; see `SynthesisNetwork`.
            force_fp32: run half-precision levels in the parameters' own type.

        Returns:
            [N, img_channels, H, W] nominally in [-1, 1], contiguous, in the parameters' dtype.

        Raises:
            ValueError: an argument does not fit.

        Differentiable: any order in z and c.
        """
        ws = self.mapping(z, c, truncation_psi, truncation_cutoff)
        images: Tensor = self.synthesis(ws, noise_mode, noise, force_fp32)
        return images
