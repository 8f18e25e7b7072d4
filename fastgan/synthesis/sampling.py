"""Seeds -> latents -> images. An image is a function of its seed and options, not of its batch.

Paths between latents live in interpolation.py, files in images.py and video.py.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fastgan.errors import ConfigError
from fastgan.synthesis.images import to_uint8
from fastgan.synthesis.interpolation import walk

MAX_SEEDS = 1_000_000
MAX_TRUNCATION = 2.0
NOISE_MODES = ("const", "random", "none")


def parse_seeds(text: str, name: str = "seeds") -> list[int]:
    """Read "0-15", "1,5,9" or a mix such as "0-3,9" into seeds, in the order written.

    Args:
        text: what the user wrote.
        name: what the numbers are, for the message.

    Raises:
        ConfigError: not of this form, a range that runs backwards, or more than a million.
    """
    seeds: list[int] = []
    for entry in text.replace(" ", "").split(","):
        match = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?", entry, re.ASCII)
        if match is None:
            raise ConfigError(f"{name}: expected such as 0-15 or 1,5,9, got {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ConfigError(f"{name}: the range {entry} runs backwards")
        if len(seeds) + last - first + 1 > MAX_SEEDS:
            raise ConfigError(f"{name}: {text!r} is more than {MAX_SEEDS} numbers")
        seeds.extend(range(first, last + 1))
    return seeds


def latents_from_seeds(seeds: Sequence[int], z_dim: int) -> Tensor:
    """Draw one standard normal latent per seed, float32 [N, z_dim] on the CPU.

    A seed gives the same latent on every device and in every batch.

    Raises: ConfigError without seeds, or for one that is below 0 or no whole number.
    """
    if len(seeds) == 0:
        raise ConfigError("seeds: expected at least one")
    wrong = [seed for seed in seeds if seed != int(seed) or seed < 0]
    if wrong:
        raise ConfigError(f"seeds: expected whole numbers from 0, got {wrong[0]}")
    rows = [torch.randn(z_dim, generator=_generator(seed, "z")) for seed in seeds]
    return torch.stack(rows)  # [N, z_dim]


def one_hot(classes: Sequence[int], c_dim: int) -> Tensor:
    """Turn class numbers into label rows, float32 [N, c_dim].

    Raises:
        ConfigError: a class is not in 0..c_dim-1.
    """
    wrong = [c for c in classes if not 0 <= c < c_dim]
    if wrong:
        raise ConfigError(f"class {wrong[0]}: the model knows the classes 0-{c_dim - 1}")
    return torch.nn.functional.one_hot(torch.tensor(list(classes)), c_dim).float()


@torch.no_grad()
def sample(
    generator: nn.Module,
    seeds: Sequence[int],
    *,
    truncation: float = 1.0,
    labels: Tensor | None = None,
    noise_mode: str = "const",
    batch: int = 16,
) -> Tensor:
    """Make one image per seed, in evaluation mode.

    Args:
        generator: a network of `fastgan.networks`; its training mode is restored afterwards.
        seeds: N >= 1 seeds, each at least 0.
        truncation: psi in w' = w_avg + psi (w - w_avg): 1 is off, 0 gives the average image.
            Networks without a mapping network take 1 only.
        labels: [N, c_dim] for a conditional generator; None takes class (seed modulo c_dim).
        noise_mode: "const" (the trained noise images), "random" (drawn from the seed) or "none";
            networks without noise ignore it.
        batch: images per forward pass, at least 1. Sums may round differently in another batch
            size, so that a byte can differ by one; everything else is equal.

    Returns: uint8 [N, H, W, C] on the CPU.
    Raises: ConfigError for an option that does not fit the generator.
    """
    _check_batch(batch)
    check_options(generator, truncation, noise_mode)
    z = latents_from_seeds(seeds, _size(generator, "z_dim"))
    labels = labels_for_seeds(_size(generator, "c_dim"), seeds, labels)
    parts = []
    with _evaluation(generator):
        for rows in batches(len(z), batch):
            if is_style_based(generator):
                ws = _map(generator, z[rows], labels[rows], truncation)
                images = _synthesize(generator, ws, noise_mode, seeds[rows])
            else:
                images = _plain(generator, z[rows], labels[rows])
            parts.append(to_uint8(images))
    return torch.cat(parts)


@torch.no_grad()
def interpolate(
    generator: nn.Module,
    seeds: Sequence[int],
    frames: int,
    *,
    truncation: float = 1.0,
    labels: Tensor | None = None,
    batch: int = 16,
) -> Tensor:
    """Make the frames of a closed walk through the images of some seeds.

    Straight lines in W where there is a mapping network, else great circles in z. Noise is
    constant, so that only the latent moves.

    Args:
        generator, truncation, labels, batch: as in `sample`.
        seeds: K >= 2 stops.
        frames: images per leg, at least 1.

    Returns: uint8 [K * frames, H, W, C] on the CPU.
    Raises: ConfigError for an option that does not fit the generator.
    """
    _check_batch(batch)
    check_options(generator, truncation, "const")
    z = latents_from_seeds(seeds, _size(generator, "z_dim"))
    labels = labels_for_seeds(_size(generator, "c_dim"), seeds, labels)
    with _evaluation(generator):
        if is_style_based(generator):
            path = walk(_map(generator, z, labels, truncation).cpu(), frames)
            images = [_synthesize(generator, path[r], "const") for r in batches(len(path), batch)]
        else:
            path, c = walk(z, frames, spherical=True), walk(labels, frames)
            images = [_plain(generator, path[r], c[r]) for r in batches(len(path), batch)]
    return torch.cat([to_uint8(part) for part in images])


def check_options(
    generator: nn.Module, truncation: float, noise_mode: str, name: str = "truncation"
) -> None:
    """Raise ConfigError unless the options fit the generator; `name` is what the message calls
    the truncation."""
    if noise_mode not in NOISE_MODES:
        raise ConfigError(f"noise_mode: expected one of {NOISE_MODES}, got {noise_mode!r}")
    if not -MAX_TRUNCATION <= truncation <= MAX_TRUNCATION:
        raise ConfigError(
            f"{name}: expected a number from -{MAX_TRUNCATION:g} to {MAX_TRUNCATION:g}, "
            f"got {truncation}"
        )
    if truncation != 1 and not is_style_based(generator):
        network = type(generator).__name__
        raise ConfigError(f"{name}: {network} has no mapping network; leave it at 1")


def _check_batch(batch: int) -> None:
    if batch < 1:
        raise ConfigError(f"batch: expected at least 1, got {batch}")


def labels_for_seeds(c_dim: int, seeds: Sequence[int], labels: Tensor | None) -> Tensor:
    """Label rows [N, c_dim]: those given, or class (seed modulo c_dim); [N, 0] without labels.

    Raises: ConfigError when the labels are not [N, c_dim].
    """
    if labels is None and c_dim > 0:
        return one_hot([seed % c_dim for seed in seeds], c_dim)
    if labels is None:
        return torch.empty(len(seeds), 0)
    if tuple(labels.shape) != (len(seeds), c_dim):
        hint = "; the model is not conditional" if c_dim == 0 else ""
        found = list(labels.shape)
        raise ConfigError(f"labels: expected [{len(seeds)}, {c_dim}], got {found}{hint}")
    return labels


@contextmanager
def _evaluation(generator: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block, the mode of before after it."""
    was_training = generator.training
    generator.eval()
    try:
        yield
    finally:
        generator.train(was_training)


def is_style_based(generator: nn.Module) -> bool:
    """Whether the generator is a mapping network z -> w and a synthesis network w -> image."""
    return hasattr(generator, "mapping") and hasattr(generator, "synthesis")


def _plain(generator: nn.Module, z: Tensor, labels: Tensor) -> Tensor:
    images: Tensor = generator(_to(generator, z), _condition(generator, labels))
    if images.ndim != 4:
        raise ConfigError(f"{type(generator).__name__} makes points, not images")
    return images


def _map(generator: Any, z: Tensor, labels: Tensor, truncation: float) -> Tensor:
    condition = _condition(generator, labels)
    ws: Tensor = generator.mapping(_to(generator, z), condition, truncation_psi=truncation)
    return ws


def _synthesize(generator: Any, ws: Tensor, noise_mode: str, seeds: Sequence[int] = ()) -> Tensor:
    noise = noise_from_seeds(seeds) if noise_mode == "random" else None
    images: Tensor = generator.synthesis(_to(generator, ws), noise_mode=noise_mode, noise=noise)
    return images


def noise_sizes(generator: Any) -> list[tuple[int, int]]:
    """Height and width of each layer's noise, in the order of the layers; [] without noise."""
    layers = [part for part in generator.modules() if hasattr(part, "noise_const")]
    return [layer.size for layer in sorted(layers, key=lambda layer: layer.index)]


def noise_from_seeds(seeds: Sequence[int]) -> Callable[[int, int, int], Tensor]:
    """Layer noise that belongs to the seeds, so that a batch does not change it."""

    def noise(layer: int, height: int, width: int) -> Tensor:
        maps = [
            torch.randn(1, height, width, generator=_generator(seed, f"noise/{layer}"))
            for seed in seeds
        ]
        return torch.stack(maps)  # [N, 1, H, W]

    return noise


def _generator(seed: int, purpose: str) -> torch.Generator:
    """A generator of its own for each seed and purpose."""
    digest = hashlib.sha256(f"{purpose}/{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def _condition(generator: nn.Module, labels: Tensor) -> Tensor | None:
    return _to(generator, labels) if labels.shape[1] else None


def _to(generator: nn.Module, value: Tensor) -> Tensor:
    parameter = next(generator.parameters())
    return value.to(device=parameter.device, dtype=parameter.dtype)


def _size(generator: nn.Module, name: str) -> int:
    return int(getattr(generator, name))


def batches(count: int, batch: int) -> Iterator[slice]:
    """Slices of at most `batch` rows that cover `count` rows."""
    return (slice(start, start + batch) for start in range(0, count, batch))
