"""The engine that runs a generator as it stands, with the ops of torch and fastgan.

It serves every device and every generator, and is what the others are compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fastgan.synthesis.engine import LayerProfile
from fastgan.synthesis.images import quantize
from fastgan.synthesis.programs import Program
from fastgan.timing import measure

PROFILE_ROUNDS = 10


class TorchEngine:
    """Eager inference of a program."""

    name = "torch"

    def __init__(self, program: Program) -> None:
        self.program = program

    def render_w(self, ws: Tensor, noise: Sequence[Tensor] | None = None) -> np.ndarray:
        """Render styles; see `StyleEngine`."""
        return self._render([ws, *(noise or ())])

    def render_z(self, z: Tensor, c: Tensor | None = None) -> np.ndarray:
        """Render latents; see `LatentEngine`."""
        return self._render([z] if c is None else [z, c])

    def warmup(self) -> None:
        """Render once at batch 1."""
        self._render(self.program.examples(1))

    def profile(self) -> list[LayerProfile]:
        """Time each layer by itself, on the inputs that it gets at batch 1."""
        inputs = self.program.examples(1)
        with torch.inference_mode(), without_autocast(inputs[0].device.type):
            return profile_layers(self.program, inputs)

    def _render(self, inputs: list[Tensor]) -> np.ndarray:
        images: np.ndarray = self._bytes(inputs).cpu().numpy()
        return images

    def _bytes(self, inputs: list[Tensor]) -> Tensor:
        """uint8 [N, H, W, C] on the device."""
        with torch.inference_mode(), without_autocast(inputs[0].device.type):
            return quantize(self.program(*inputs))


def without_autocast(device: str) -> Any:
    """The caller's autocast does not change what an engine computes."""
    return torch.autocast(device, enabled=False)


def profile_layers(program: Program, inputs: list[Tensor]) -> list[LayerProfile]:
    """Record the calls of the program's layers in one run, then time them in turn."""
    layers, calls = program.layers(), {}

    def recorder(name: str) -> Any:
        def record(layer: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
            calls[name] = (partial(layer, *args, **kwargs), args[0], output)

        return record

    hooks = [
        layer.register_forward_hook(recorder(name), with_kwargs=True)
        for name, layer in layers.items()
    ]
    try:
        program(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    times = measure({name: call for name, (call, _, _) in calls.items()}, rounds=PROFILE_ROUNDS)
    return [
        _row(name, program.algorithm, layers[name], x, y, times[name].minimum)
        for name, (_, x, y) in calls.items()
    ]


def _row(
    name: str, algorithm: str, layer: Any, x: Tensor, y: Tensor, seconds: float
) -> LayerProfile:
    upsamples = getattr(layer, "up", 1) > 1 or isinstance(layer, nn.ConvTranspose2d)
    pixels = (x if upsamples else y)[:, 0].numel()  # an inserted zero is not multiplied
    flops = 2.0 * pixels * layer.weight.numel()
    weights = sum(tensor.nbytes for tensor in layer.state_dict().values())
    return LayerProfile(
        name,
        algorithm,
        milliseconds=seconds * 1e3,
        gflops_per_second=flops / max(seconds, 1e-9) / 1e9,
        flops=flops,
        bytes=weights + x.nbytes + y.nbytes,
        weight_bytes=weights,
    )
