"""What turns latents into bytes: the interface of the engines behind `Synthesizer`, and the choice.

The engines are in cpu_engine.py (C++), torch_engine.py and cuda_engine.py.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fastgan.synthesis.sampling import is_style_based

PRECISIONS = ("fp32", "fp16")

log = logging.getLogger("fastgan")


@dataclass(frozen=True)
class LayerProfile:
    """One layer of `Synthesizer.profile()`, at batch 1.

    Attributes:
        name: as in the generator, such as "b64.conv0".
        algorithm: how the engine computes it.
        milliseconds: fastest of a few runs.
        gflops_per_second: flops over that time.
        flops: operations of the filter, two per multiplication with addition. Zeros that an
            upsampling inserts are not counted.
        bytes: moved at least: weights, input and output once each.
        weight_bytes: of the weights as the engine stores them.
    """

    name: str
    algorithm: str
    milliseconds: float
    gflops_per_second: float
    flops: float
    bytes: int
    weight_bytes: int


class Engine(Protocol):
    """What every engine has."""

    name: str

    def warmup(self) -> None:
        """Do at once what the first call would do beside rendering."""

    def profile(self) -> list[LayerProfile]:
        """Time each layer at batch 1."""


class StyleEngine(Engine, Protocol):
    """Renders the synthesis network of a style-based generator."""

    def render_w(self, ws: Tensor, noise: Sequence[Tensor] | None) -> np.ndarray:
        """Render styles.

        Args:
            ws: float32 [N, num_ws, w_dim], contiguous, on the engine's device.
            noise: standard normal draws [N, 1, H, W] per layer; None takes the stored noise of
                noise_mode "const", and zeros in the mode "none".

        Returns: uint8 [N, H, W, C] that nothing else refers to.
        """


class LatentEngine(Engine, Protocol):
    """Renders a generator that has no mapping network."""

    def render_z(self, z: Tensor, c: Tensor | None) -> np.ndarray:
        """Render latents, float32 [N, z_dim] and [N, c_dim], to uint8 [N, H, W, C]."""


def build_engine(
    generator: nn.Module, device: torch.device, precision: str, noise_mode: str, batch: int = 1
) -> Any:
    """The fastest engine that serves the generator: a StyleEngine or a LatentEngine.

    Args:
        generator: only read; the engine copies what it needs.
        device: where to run.
        precision: one of PRECISIONS.
        noise_mode: "const", "random" or "none".
        batch: images of most calls.
    """
    from fastgan.synthesis.cuda_engine import CudaEngine, TorchCuda
    from fastgan.synthesis.programs import program_of
    from fastgan.synthesis.torch_engine import TorchEngine

    if device.type == "cpu" and is_style_based(generator):
        engine = _cpu_engine(generator, precision, noise_mode, batch)
        if engine is not None:
            return engine
    program = program_of(generator, device, precision, noise_mode)
    if device.type == "cuda":
        return CudaEngine(program, TorchCuda(device))
    return TorchEngine(program)


def _cpu_engine(generator: nn.Module, precision: str, noise_mode: str, batch: int) -> Any | None:
    """The C++ engine, or None, logged once, where it is not built or does not serve the network."""
    name = "fastgan.synthesis.cpu_engine"
    if importlib.util.find_spec(name) is None:
        log_once("synthesis: this version has no C++ engine; torch renders")
        return None
    module = importlib.import_module(name)
    reason = module.why_not(generator, precision)
    if reason is not None:
        log_once(f"synthesis: the C++ engine is not used: {reason}; torch renders, slower")
        return None
    if any(parameter.device.type != "cpu" for parameter in generator.parameters()):
        generator = copy.deepcopy(generator).to("cpu")
    return module.CpuEngine(generator, precision=precision, noise_mode=noise_mode, batch=batch)


@cache
def log_once(message: str) -> None:
    """Warn in the project's log, the first time only."""
    log.warning(message)
