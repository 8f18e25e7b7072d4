"""StyleGAN2 synthesis by the C++ engine: which generators it takes, and their weights handed over.

The engine itself is csrc/engine, the class that users see is in synthesizer.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from types import ModuleType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from fastgan.networks.stylegan2_generator import StyleGAN2Generator
from fastgan.networks.stylegan2_synthesis import SynthesisLayer, ToRGB
from fastgan.synthesis.cpu_mapping import CpuMapping
from fastgan.synthesis.engine import LayerProfile
from fastgan.synthesis.tuning import Shape, engine_module, tuned_choices

PRECISIONS = ("fp32", "fp16")
MAX_BATCH = 8  # memory grows with it, and speed does not any more
PROFILE_ROUNDS = 10


def why_not(generator: nn.Module, precision: str = "fp32") -> str | None:
    """Say why the engine cannot run a generator, or None when it can."""
    if engine_module() is None:
        return "fastgan._engine was not built; install fastgan where a C++ compiler is"
    if not isinstance(generator, StyleGAN2Generator):
        return f"it takes StyleGAN2Generator, not {type(generator).__name__}"
    options = _blocks(generator)[0].options
    if options.architecture != "skip":
        return f"it takes the skip architecture, not {options.architecture}"
    if not 1 <= options.img_channels <= 4:
        return f"it takes images of 1 to 4 channels, not {options.img_channels}"
    if _filter_ratio(options.resample_filter) is None:
        return f"it takes symmetric filters of 4 taps, not {list(options.resample_filter)}"
    if precision not in PRECISIONS:
        return f"it takes the precisions {', '.join(PRECISIONS)}, not {precision}"
    return None


class CpuEngine:
    """The weights of a generator, arranged for the C++ engine.

    Args:
        generator: one that `why_not` says None of. It is not kept.
        precision: "fp32", or "fp16" to store the weights of the convolutions in half precision;
            arithmetic is float32 in both.
        noise_mode: what `render_w` does without noise of its own: "const" uses the stored noise
            images, "none" and "random" none.
        choices: algorithm of each convolution, in their order; None for the tuned or default one.
        isa: "default", "avx2" or "avx512"; empty takes FASTGAN_CPU_CAPABILITY or the best.
    """

    name = "cpu"

    def __init__(
        self,
        generator: nn.Module,
        *,
        precision: str = "fp32",
        noise_mode: str = "const",
        batch: int = 1,
        choices: Sequence[dict[str, Any] | None] | None = None,
        isa: str = "",
    ) -> None:
        reason = why_not(generator, precision)
        if reason is not None:
            raise ValueError(f"the CPU engine cannot run this generator: {reason}")
        net = cast(StyleGAN2Generator, generator)
        blocks: list[Any] = [
            net.synthesis.get_submodule(name) for name, _, _ in net.synthesis.blocks
        ]
        options = blocks[0].options
        self._network = cast(ModuleType, engine_module()).Network(
            net.w_dim,
            net.num_ws,
            net.img_channels,
            _array(blocks[0].const),
            slope=0.2,
            gain=sqrt(2),
            clamp=-1.0 if options.conv_clamp is None else float(options.conv_clamp),
            filter_ratio=cast(float, _filter_ratio(options.resample_filter)),
            half_weights=precision == "fp16",
            samples=min(batch, MAX_BATCH),
            isa=isa,
        )
        self._ws_shape, self._names = (net.num_ws, net.w_dim), ["styles"]
        if choices is None and batch > 1:  # choices are measured for single images
            choices = []
        elif choices is None:
            choices = tuned_choices(conv_shapes(net), precision == "fp16", isa)
        each_choice = iter(choices)
        for block, (name, first, _) in zip(blocks, net.synthesis.blocks, strict=True):
            layers = [block.conv1] if block.num_conv == 1 else [block.conv0, block.conv1]
            self._names += [f"{name}.conv0"] * (len(layers) - 1)
            self._names.append(f"{name}.conv1+torgb")
            for index, layer in enumerate(layers):
                self._add_conv(layer, first + index, noise_mode, next(each_choice, None))
            self._add_image(block.torgb, first + len(layers))
        self.mapping = CpuMapping(self._network, net.mapping)

    def _add_conv(
        self, layer: SynthesisLayer, w_index: int, noise_mode: str, choice: dict[str, Any] | None
    ) -> None:
        has_noise = layer.use_noise and noise_mode != "none"
        self._network.add_conv(
            _array(layer.weight),
            _array(layer.bias),
            *_affine(layer),
            noise=_array(layer.noise_const) if has_noise and noise_mode == "const" else None,
            noise_strength=float(layer.noise_strength.detach()) if has_noise else 0.0,
            up=layer.up == 2,
            w_index=w_index,
            choice=choice,
            threads=torch.get_num_threads(),
        )

    def _add_image(self, layer: ToRGB, w_index: int) -> None:
        affine, bias = _affine(layer)
        self._network.add_image(
            _array(layer.weight)[:, :, 0, 0],
            _array(layer.bias),
            affine * np.float32(layer.weight_gain),
            bias * np.float32(layer.weight_gain),
            w_index=w_index,
            clamp=-1.0 if layer.conv_clamp is None else float(layer.conv_clamp),
        )

    def render_w(self, ws: Tensor, noise: Sequence[Tensor] | None = None) -> np.ndarray:
        """Render uint8 [N, H, W, C] from ws [N, num_ws, w_dim].

        Args:
            ws: styles, one for each layer.
            noise: for each convolution [N, 1, height, width] standard normal draws; None uses what
                the noise mode says.
        """
        parts = []
        for start in range(0, max(len(ws), 1), MAX_BATCH):
            rows = slice(start, start + MAX_BATCH)
            drawn = None if noise is None else [_array(draw[rows, 0]) for draw in noise]
            parts.append(self._network.render(_array(ws[rows]), drawn, torch.get_num_threads()))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def warmup(self) -> None:
        """Render once, so that memory is there and threads are awake."""
        self.render_w(torch.zeros(1, *self._ws_shape))

    def profile(self) -> list[LayerProfile]:
        """Render frames at batch 1 and return the fastest time of each layer. `flops` are those of
        the products that are left after minimal filtering."""
        self.warmup()
        ws, threads = np.zeros((1, *self._ws_shape), np.float32), torch.get_num_threads()
        frames = [self._network.profile(ws, threads) for _ in range(PROFILE_ROUNDS)]
        rows = []
        for name, *runs in zip(self._names, *frames, strict=True):
            row = min(runs, key=lambda run: run["seconds"])
            rows.append(
                LayerProfile(
                    name,
                    row["algorithm"],
                    row["seconds"] * 1e3,
                    row["flops"] / row["seconds"] / 1e9,
                    row["flops"],
                    row["bytes"],
                    row["weight_bytes"],
                )
            )
        return rows

    def memory(self) -> dict[str, int]:
        """Bytes: "weights" as the kernels read them, "total" with all buffers, and the size of the
        "two_largest_activations"."""
        return dict(self._network.memory())


def _blocks(generator: StyleGAN2Generator) -> list[Any]:
    return [generator.synthesis.get_submodule(name) for name, _, _ in generator.synthesis.blocks]


def conv_shapes(generator: StyleGAN2Generator) -> list[Shape]:
    """The convolutions of a generator, in the order of the engine."""
    shapes = []
    for block in _blocks(generator):
        for layer in [block.conv1] if block.num_conv == 1 else [block.conv0, block.conv1]:
            out_channels, in_channels = layer.weight.shape[:2]
            height, width = (side // layer.up for side in layer.size)
            shapes.append(Shape(in_channels, out_channels, height, width, layer.up == 2))
    return shapes


def _affine(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and bias of y = matrix w + bias of a layer's style."""
    affine = layer.affine
    return _array(affine.weight * affine.weight_gain), _array(affine.bias * affine.bias_gain)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().to(device="cpu", dtype=torch.float32).contiguous().numpy()


def _filter_ratio(taps: Sequence[float]) -> float | None:
    """r of a filter proportional to (1, r, r, 1), or None."""
    if len(taps) != 4 or taps[0] == 0 or taps[0] != taps[3] or taps[1] != taps[2]:
        return None
    return float(taps[1] / taps[0])
