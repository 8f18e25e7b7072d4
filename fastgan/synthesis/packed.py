"""A synthesis network with everything that styles do not change computed ahead.

For the kernels of GPUs: weights normalised, turned, cast and laid out once instead of in each
call, and filters as taps, whose values a captured graph could not read. No gradients here.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from fastgan.networks import SynthesisNetwork
from fastgan.networks.layers import EqualizedConv2d
from fastgan.networks.stylegan2_synthesis import SynthesisLayer
from fastgan.ops import conv2d_resample, upsample2d
from fastgan.ops._separable import separable_taps
from fastgan.ops.modulated_conv2d import Layer, modulate
from fastgan.ops.modulated_conv2d_fused import Activation
from fastgan.reference.bias_act import ACTIVATIONS
from fastgan.reference.modulated_conv2d import normalize_half

NoiseSource = Callable[[int, int, int], Tensor]


def _taps(filter: Tensor) -> Tensor:
    taps = separable_taps(filter.float())
    return (filter.float() if taps is None else taps).clone()


def _pack(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.to(dtype=dtype, memory_format=torch.channels_last)


class PackedLayer(nn.Module):
    """A SynthesisLayer or ToRGB: y = act(d (W * (s x)) + noise + b), d = rsqrt(s^2 E + 1e-8).

    W, the affine map of s with its gains, E[i, o] = sum of W[o, i]^2, and the scaled stored noise
    are constants.

    Args:
        layer: the SynthesisLayer or ToRGB whose weights to copy.
        dtype: of x and W. In half precision W is normalised as `modulated_conv2d` does it.
        backend: whose kernels run.
        gain: of the output, beside the activation's.
    """

    affine_weight: Tensor
    affine_bias: Tensor
    bias: Tensor
    weight: Tensor
    energy: Tensor | None
    taps: Tensor | None
    strength: Tensor | None
    stored_noise: Tensor | None

    def __init__(self, layer: Any, dtype: torch.dtype, backend: str, gain: float = 1.0) -> None:
        super().__init__()
        styled, affine = isinstance(layer, SynthesisLayer), layer.affine
        self.normalize = styled and dtype == torch.float16
        style_gain = 1.0 if styled else layer.weight_gain
        self.register_buffer("affine_weight", affine.weight * (affine.weight_gain * style_gain))
        self.register_buffer("affine_bias", affine.bias * (affine.bias_gain * style_gain))
        self.register_buffer("bias", layer.bias.clone())
        weight = layer.weight
        if self.normalize:
            weight, _ = normalize_half(weight, weight.new_ones(1, weight.shape[1]))
        energy = weight.square().sum(dim=[2, 3]).t().contiguous() if styled else None
        self.register_buffer("energy", energy)
        self.up = layer.up if styled else 1
        self.register_buffer("weight", _pack(weight.flip([2, 3]) if self.up > 1 else weight, dtype))
        taps = _taps(layer.resample_filter) if styled else None
        self.register_buffer("taps", taps)
        self._pack_noise(layer)
        padding = weight.shape[2] // 2
        self.layer = Layer(self.up, 1, (padding,) * 4, self.taps, True, styled, backend)
        row = ACTIVATIONS["lrelu" if styled else "linear"]
        clamp = -1.0 if layer.conv_clamp is None else layer.conv_clamp * gain
        act_gain = row.default_gain * gain
        name = "lrelu" if styled else "linear"
        self.activation = Activation(name, row.default_alpha, act_gain, clamp)

    def _pack_noise(self, layer: Any) -> None:
        noisy = isinstance(layer, SynthesisLayer) and layer.use_noise
        self.index, self.size = getattr(layer, "index", -1), getattr(layer, "size", (0, 0))
        strength = layer.noise_strength.clone() if noisy else None
        stored = layer.noise_const[None, None] * layer.noise_strength if noisy else None
        self.register_buffer("strength", strength)
        self.register_buffer("stored_noise", stored)

    def forward(
        self, x: Tensor, w: Tensor, mode: str = "none", source: NoiseSource | None = None
    ) -> Tensor:
        """Map x [N, C_in, h, w] and w [N, w_dim] to [N, C_out, H, W] in the dtype of x."""
        styles = torch.addmm(self.affine_bias, w, self.affine_weight.t())
        if self.normalize:
            styles = styles / styles.abs().amax(dim=1, keepdim=True)
        scale = None
        if self.energy is not None:
            scale = (styles.square() @ self.energy + 1e-8).rsqrt()
        noise = self._noise(mode, source)
        return modulate(
            x, self.weight, styles, scale, noise, self.bias, self.layer, self.activation
        )

    def _noise(self, mode: str, source: NoiseSource | None) -> Tensor | None:
        if self.strength is None or mode == "none":
            return None
        if source is None:
            return self.stored_noise
        return source(self.index, *self.size) * self.strength


class PackedSkip(nn.Module):
    """The skip of a residual block: a pointwise convolution and upsampling, no bias."""

    weight: Tensor
    taps: Tensor

    def __init__(
        self, skip: EqualizedConv2d, dtype: torch.dtype, backend: str, gain: float
    ) -> None:
        super().__init__()
        self.up, self.backend = skip.up, backend
        self.register_buffer("weight", _pack(skip.weight * (skip.weight_gain * gain), dtype))
        self.register_buffer("taps", _taps(skip.resample_filter))

    def forward(self, x: Tensor) -> Tensor:
        return conv2d_resample(x, self.weight, self.taps, up=self.up, backend=self.backend)


class PackedSynthesis(nn.Module):
    """`SynthesisNetwork` in one dtype throughout, from packed layers; images sum up in float32.

    Args:
        synthesis: weights to copy, in float32.
        dtype: of features and weights.
        backend: whose kernels run; not the reference.
    """

    const: Tensor
    taps: Tensor

    def __init__(self, synthesis: SynthesisNetwork, dtype: torch.dtype, backend: str) -> None:
        super().__init__()
        self.num_ws, self.w_dim, self.backend = synthesis.num_ws, synthesis.w_dim, backend
        self.names = [name for name, _, _ in synthesis.blocks]
        for name in self.names:
            block: Any = synthesis.get_submodule(name)
            self.add_module(name, self._pack_block(block, dtype))
        first: Any = synthesis.get_submodule(self.names[0])
        self.register_buffer("const", _pack(first.const[None], dtype))
        self.register_buffer("taps", _taps(first.resample_filter))

    def _pack_block(self, block: Any, dtype: torch.dtype) -> nn.ModuleDict:
        residual = hasattr(block, "skip")
        gain = sqrt(0.5) if residual else 1.0
        parts = nn.ModuleDict()
        if residual:
            parts["skip"] = PackedSkip(block.skip, dtype, self.backend, gain)
        if hasattr(block, "conv0"):
            parts["conv0"] = PackedLayer(block.conv0, dtype, self.backend)
        parts["conv1"] = PackedLayer(block.conv1, dtype, self.backend, gain)
        if hasattr(block, "torgb"):
            parts["torgb"] = PackedLayer(block.torgb, dtype, self.backend)
        return parts

    def forward(self, ws: Tensor, mode: str, source: NoiseSource | None = None) -> Tensor:
        """Render ws [N, num_ws, w_dim] to [N, img_channels, H, W], float32.

        mode "none" takes no noise; else source(layer, h, w) gives it, or None the stored noise.
        """
        each_w = iter(ws.unbind(dim=1))
        x = self.const.repeat(len(ws), 1, 1, 1).contiguous(memory_format=torch.channels_last)
        image: Tensor | None = None
        w = next(each_w)
        for name in self.names:
            block: Any = self.get_submodule(name)
            shortcut = block["skip"](x) if "skip" in block else None
            for part in ("conv0", "conv1"):
                if part in block:
                    x = block[part](x, w, mode, source)
                    w = next(each_w)  # after a block's last convolution, torgb shares it
            x = x if shortcut is None else shortcut + x
            if image is not None:
                image = upsample2d(image, self.taps, backend=self.backend)
            if "torgb" in block:
                rgb = block["torgb"](x, w).float().contiguous()
                image = rgb if image is None else image + rgb
        assert image is not None  # the last block always makes an image
        return image
