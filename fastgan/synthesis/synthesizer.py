"""Latents in, bytes out: a generator made ready to render as fast as the machine allows.

Inputs are checked in inputs.py; engine.py chooses who renders.
"""

from __future__ import annotations

import copy
import math
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fastgan.devices import usable_device
from fastgan.errors import ConfigError
from fastgan.synthesis import inputs
from fastgan.synthesis.engine import PRECISIONS, LayerProfile, build_engine, log
from fastgan.synthesis.inputs import Array
from fastgan.synthesis.model_file import find_model, load_generator
from fastgan.synthesis.sampling import (
    batches,
    check_options,
    is_style_based,
    labels_for_seeds,
    latents_from_seeds,
    noise_from_seeds,
    noise_sizes,
)
from fastgan.synthesis.torch_engine import without_autocast

MAX_BATCH = 16  # images per call of the engine
# `batch` of commands that render many images, however many they hand over at a time: the bytes of
# an image must not depend on that.
MANY = 16
PSNR_SEEDS = range(4)


class Synthesizer:
    """Renders images with a trained generator, from its own copy of the weights.

    The generator may be deleted or changed afterwards. Calls from several threads take turns.

    Args:
        generator: a network of `fastgan.networks` that makes images.
        device: where to render; None takes the generator's.
        precision: "fp32", or "fp16": weights in half precision, on CUDA features, too. It measures
            its error on construction, see `psnr_db`.
        truncation_psi: w' = w_avg + psi (w - w_avg) in `map`, within +-2: 1 is off, 0 gives the
            average image. Networks without a mapping network take 1 only.
        noise_mode: "const" (the trained noise images), "random" (drawn from the seed; without
            seeds from torch's global generator) or "none"; networks without noise ignore it.
        batch: images that most calls render, at least 1. Any number may be rendered; on a CPU,
            small layers of networks with many channels are faster for several images when they are
            laid out for them, and slower for one.

    Attributes:
        img_resolution: height and width. img_channels, z_dim, c_dim: as in the generator.
        num_ws, w_dim: styles of an image and their width; 0 without a mapping network.
        batch: as given.
        psnr_db: of "fp16" against "fp32" bytes on a few seeds, infinite where they are equal;
            None for "fp32".

    Raises:
        ConfigError: an option is not known or does not fit the generator or this machine.
    """

    def __init__(
        self,
        generator: nn.Module,
        *,
        device: torch.device | str | None = None,
        precision: str = "fp32",
        truncation_psi: float = 1.0,
        noise_mode: str = "const",
        batch: int = 1,
    ) -> None:
        _check_generator(generator)
        check_options(generator, truncation_psi, noise_mode, "truncation_psi")
        if precision not in PRECISIONS:
            raise ConfigError(f"precision: expected one of {PRECISIONS}, got {precision!r}")
        if batch < 1:
            raise ConfigError(f"batch: expected at least 1, got {batch}")
        network: Any = generator
        self.z_dim, self.c_dim = int(network.z_dim), int(network.c_dim)
        self.num_ws, self.w_dim = getattr(network, "num_ws", 0), getattr(network, "w_dim", 0)
        self.img_resolution: tuple[int, int] = tuple(network.img_resolution)
        self.img_channels = int(network.img_channels)
        self.precision, self.truncation_psi, self.noise_mode = precision, truncation_psi, noise_mode
        self.batch = batch
        self.device = _device_of(generator) if device is None else usable_device(device)
        self._noise_sizes = noise_sizes(generator) if noise_mode == "random" else []
        self._lock = threading.Lock()
        self.psnr_db: float | None = None
        self._engine: Any = None
        self._mapping: Any = None
        if precision == "fp16":  # one engine at a time in memory
            exact = self._reference_images(generator)
        self._build(generator, precision)
        if precision == "fp16":
            self._report_psnr(exact)

    @classmethod
    def from_checkpoint(cls, path: str | os.PathLike[str], **options: Any) -> Synthesizer:
        """Load the model that training wrote.

        Args:
            path: a model.safetensors, or the folder of a run that has one.
            options: keyword arguments of the class.

        Raises:
            CheckpointError: no model there, or damaged.
            ConfigError: an option does not fit.
        """
        return cls(load_generator(find_model(path)), **options)

    @property
    def engine(self) -> str:
        """Name of what renders: "cpu" (C++), "torch", "cuda-graph", or "cuda" without graphs."""
        return str(self._engine.name)

    def __repr__(self) -> str:
        height, width = self.img_resolution
        loss = "" if self.psnr_db is None else f" ({self.psnr_db:.1f} dB)"
        return (
            f"Synthesizer({height} x {width} x {self.img_channels}, engine {self.engine}, "
            f"{self.precision}{loss} on {self.device})"
        )

    def render(
        self,
        z: Array | None = None,
        seeds: Sequence[int] | None = None,
        w: Array | None = None,
        labels: Array | None = None,
    ) -> np.ndarray:
        """Render one image per latent; give exactly one of z, seeds and w.

        Args:
            z: [N, z_dim], standard normal; any floating-point torch tensor or numpy array.
            seeds: whole numbers >= 0; the images are those of `fastgan.synthesis.sample`.
            w: as in `render_w`.
            labels: [N, c_dim] for conditional generators. With seeds None takes class (seed modulo
                c_dim); with w the class is in w already.

        Returns: uint8 [N, H, W, C].
        Raises:
            TypeError: an input is not of numbers of its kind.
            ConfigError: a shape or value does not fit; the message says what was expected.
        """
        if sum(given is not None for given in (z, seeds, w)) != 1:
            raise ConfigError("render: pass exactly one of z, seeds and w")
        if w is not None:
            if labels is not None:
                raise ConfigError("labels: w is past the mapping network; pass labels to map")
            return self._render_styles(self._styles("w", w), None)
        if seeds is None:
            assert z is not None  # one of the three is given
            latents = inputs.latents(z, self.z_dim)
            numbers, c = None, inputs.conditions(labels, len(latents), self.c_dim)
        else:
            numbers = inputs.seed_numbers(seeds)
            latents = latents_from_seeds(numbers, self.z_dim).float()
            if labels is None and self.c_dim > 0:
                labels = labels_for_seeds(self.c_dim, numbers, None)
            c = inputs.conditions(labels, len(latents), self.c_dim)
        if self._mapping is None:
            return self._render_latents(latents, c)
        return self._render_styles(self._map(latents, c), numbers)

    def render_w(self, ws: Array) -> np.ndarray:
        """Render styles as they are: truncation belongs to `map`.

        Args:
            ws: [N, num_ws, w_dim], or [N, w_dim] for the same style in all layers.

        Returns: uint8 [N, H, W, C].
        Raises: TypeError or ConfigError, as `render` does.
        """
        return self._render_styles(self._styles("ws", ws), None)

    def map(self, z: Array, labels: Array | None = None) -> Tensor:
        """Map latents [N, z_dim] to styles, float32 [N, num_ws, w_dim], truncated by
        `truncation_psi`, on the synthesizer's device.

        Raises: TypeError or ConfigError, as `render` does; ConfigError without a mapping network.
        """
        self._need_mapping("map")
        latents = inputs.latents(z, self.z_dim)
        return self._map(latents, inputs.conditions(labels, len(latents), self.c_dim))

    def warmup(self) -> Synthesizer:
        """Do now what the first image would wait for: compile, measure, fill caches."""
        with self._lock:
            self._engine.warmup()
        return self

    def profile(self) -> list[LayerProfile]:
        """Time each layer at batch 1, in the order of computation."""
        with self._lock:
            rows: list[LayerProfile] = self._engine.profile()
        return rows

    def _styles(self, name: str, ws: Array) -> Tensor:
        self._need_mapping(name)
        return inputs.styles(name, ws, self.num_ws, self.w_dim)

    def _need_mapping(self, wish: str) -> None:
        if self._mapping is None:
            raise ConfigError(f"{wish}: this generator has no mapping network; render z or seeds")

    @torch.no_grad()
    def _map(self, z: Tensor, c: Tensor | None) -> Tensor:
        assert self._mapping is not None  # callers have asked
        z, c = z.to(self.device), None if c is None else c.to(self.device)
        with without_autocast(self.device.type):
            ws: Tensor = self._mapping(z, c, truncation_psi=self.truncation_psi)
        return ws

    def _render_styles(self, ws: Tensor, seeds: Sequence[int] | None) -> np.ndarray:
        ws, parts = ws.to(self.device), []
        for rows in batches(len(ws), MAX_BATCH):
            part = ws[rows].contiguous()
            noise = self._noise(len(part), None if seeds is None else seeds[rows])
            with self._lock:
                parts.append(self._engine.render_w(part, noise))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _render_latents(self, z: Tensor, c: Tensor | None) -> np.ndarray:
        z, c = z.to(self.device), None if c is None else c.to(self.device)
        parts = []
        for rows in batches(len(z), MAX_BATCH):
            with self._lock:
                parts.append(self._engine.render_z(z[rows], None if c is None else c[rows]))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _noise(self, count: int, seeds: Sequence[int] | None) -> list[Tensor] | None:
        """Draws for every layer in the mode "random", None in the others."""
        if not self._noise_sizes:
            return None
        if seeds is None:
            draws = [torch.randn(count, 1, *size) for size in self._noise_sizes]
        else:
            source = noise_from_seeds(seeds)
            draws = [source(layer, *size) for layer, size in enumerate(self._noise_sizes)]
        return [draw.to(self.device, torch.float32) for draw in draws]

    def _reference_images(self, generator: nn.Module) -> np.ndarray:
        """What "fp32" makes of PSNR_SEEDS."""
        self._build(generator, "fp32")
        images = self.render(seeds=PSNR_SEEDS)
        self._engine = self._mapping = None
        return images

    def _build(self, generator: nn.Module, precision: str) -> None:
        """Make the engine, and the mapping network where the engine has none of its own."""
        self._engine = build_engine(generator, self.device, precision, self.noise_mode, self.batch)
        self._mapping = getattr(self._engine, "mapping", None)
        if self._mapping is None and is_style_based(generator):
            network: Any = generator
            with torch.inference_mode(False), torch.no_grad():
                mapping = copy.deepcopy(network.mapping).requires_grad_(False).eval()
                self._mapping = mapping.to(device=self.device, dtype=torch.float32)

    def _report_psnr(self, exact: np.ndarray) -> None:
        self.psnr_db = psnr(self.render(seeds=PSNR_SEEDS), exact)
        log.warning(
            f"precision fp16: {self.psnr_db:.1f} dB PSNR against fp32 on {len(exact)} seeds"
        )


def psnr(images: np.ndarray, exact: np.ndarray) -> float:
    """Peak signal-to-noise ratio of bytes in dB: 10 log10(255^2 / mean squared difference)."""
    error = float(np.square(images.astype(np.float64) - exact).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def _check_generator(generator: nn.Module) -> None:
    name = type(generator).__name__
    if not all(hasattr(generator, attribute) for attribute in ("z_dim", "c_dim")):
        raise ConfigError(f"generator: expected a generator of fastgan.networks, got {name}")
    if not hasattr(generator, "img_resolution"):
        raise ConfigError(f"generator: {name} makes points, not images")


def _device_of(generator: nn.Module) -> torch.device:
    return next(generator.parameters()).device
