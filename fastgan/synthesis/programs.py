"""Generators as functions of tensors alone, which is what engines run and graphs capture.

A program holds its own copy of the weights and makes images [N, C, H, W]; bytes and memory are the
engines'.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from fastgan.dispatch import select
from fastgan.networks import SynthesisNetwork
from fastgan.networks.geometry import HalfPrecision
from fastgan.networks.layers import EqualizedConv2d
from fastgan.networks.stylegan2_synthesis import SynthesisLayer, ToRGB
from fastgan.synthesis.packed import PackedLayer, PackedSkip, PackedSynthesis
from fastgan.synthesis.sampling import is_style_based, noise_sizes

Sizes: TypeAlias = Sequence[tuple[int, int]]

LAYERS = (SynthesisLayer, ToRGB, EqualizedConv2d, PackedLayer, PackedSkip, nn.ConvTranspose2d)


class Program(nn.Module):
    """A network of fixed input shapes but for the batch.

    Attributes:
        shapes: of one row of each input.
        algorithm: what computes the layers, for the profile.
    """

    def __init__(self, network: nn.Module, shapes: list[tuple[int, ...]], algorithm: str) -> None:
        super().__init__()
        self.network, self.shapes, self.algorithm = network, shapes, algorithm

    def examples(self, batch: int) -> list[Tensor]:
        """Inputs of the right shapes, drawn from a generator of their own."""
        generator = torch.Generator().manual_seed(0)
        device = next(iter(self.state_dict().values())).device
        return [torch.randn(batch, *shape, generator=generator).to(device) for shape in self.shapes]

    def layers(self) -> dict[str, nn.Module]:
        """The convolutions by name."""
        return {name: part for name, part in self.network.named_modules() if _is_layer(part)}


class StyleProgram(Program):
    """(ws, *noise) -> images. Without noise the mode decides: stored noise or none.

    Args:
        synthesis: SynthesisNetwork or PackedSynthesis.
        noise_mode: "random" makes the noise of the layers inputs like ws.
        sizes: of the layers' noise, from `noise_sizes`.
        algorithm: see Program.
    """

    def __init__(
        self, synthesis: Any, noise_mode: str, sizes: Sizes, algorithm: str = "eager"
    ) -> None:
        noise = [(1, *size) for size in sizes] if noise_mode == "random" else []
        super().__init__(synthesis, [(synthesis.num_ws, synthesis.w_dim), *noise], algorithm)
        self.noise_mode = noise_mode if sizes else "none"

    def forward(self, ws: Tensor, *noise: Tensor) -> Tensor:
        images: Tensor
        if noise:
            images = self.network(ws, "random", lambda layer, height, width: noise[layer])
        elif self.noise_mode == "random":
            raise ValueError("synthesis: noise_mode 'random' needs the noise of every layer")
        else:
            images = self.network(ws, self.noise_mode)
        return images


class LatentProgram(Program):
    """(z[, c]) -> images."""

    def __init__(self, generator: Any, dtype: torch.dtype) -> None:
        conditions = [(generator.c_dim,)] if generator.c_dim else []
        super().__init__(generator, [(generator.z_dim,), *conditions], "eager")
        self.dtype = dtype

    def forward(self, z: Tensor, *c: Tensor) -> Tensor:
        condition = c[0].to(self.dtype) if c else None
        images: Tensor = self.network(z.to(self.dtype), condition)
        return images


def program_of(generator: Any, device: torch.device, precision: str, noise_mode: str) -> Program:
    """Copy a generator's weights to a device, in evaluation mode and without gradients.

    Args:
        generator: only read.
        device: where the copy lives.
        precision: "fp32", or "fp16": half-precision layers on CUDA, elsewhere weights rounded to
            half precision in float32 arithmetic.
        noise_mode: see StyleProgram.
    """
    half = precision == "fp16"
    with torch.inference_mode(False), torch.no_grad():
        if not is_style_based(generator):
            return _latent_program(_copy(generator, device), device, half)
        synthesis: Any = _copy(generator.synthesis, device)
        dtype = torch.float16 if half and device.type == "cuda" else torch.float32
        sizes = noise_sizes(generator)
        backend = select("modulated_conv2d", torch.empty(0, device=device, dtype=dtype))
        if device.type == "cuda" and backend != "reference":
            packed = PackedSynthesis(synthesis, dtype, backend)
            return StyleProgram(packed, noise_mode, sizes, backend)
        _set_half_levels(synthesis, dtype == torch.float16)
        if half:
            _round_weights(synthesis)
        return StyleProgram(synthesis, noise_mode, sizes)


def _copy(network: nn.Module, device: torch.device) -> nn.Module:
    duplicate = copy.deepcopy(network).requires_grad_(False).eval()
    for parameter in duplicate.parameters():
        parameter.grad = None
    return duplicate.to(device=device, dtype=torch.float32)


def _latent_program(generator: Any, device: torch.device, half: bool) -> LatentProgram:
    if not half:
        return LatentProgram(generator, torch.float32)
    if device.type != "cuda":
        _round_weights(generator)
        return LatentProgram(generator, torch.float32)
    for part in generator.modules():
        if isinstance(part, nn.ConvTranspose2d):  # normalisation keeps its float32 statistics
            part.half()
            part.weight.data = part.weight.to(memory_format=torch.channels_last)
    return LatentProgram(generator, torch.float16)


def _round_weights(network: nn.Module) -> None:
    """Give convolution weights the values that half precision can store."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.copy_(parameter.half().float())


def _set_half_levels(synthesis: SynthesisNetwork, half: bool) -> None:
    """Have all levels run in half precision, or none, whatever the generator was trained in."""
    for name, _, _ in synthesis.blocks:
        block: Any = synthesis.get_submodule(name)
        block.use_half = half
        block.options = replace(block.options, half=HalfPrecision(dtype=torch.float16))


def _is_layer(part: nn.Module) -> bool:
    return isinstance(part, LAYERS)
