"""Random numbers of a training step that do not depend on how the step is carried out.

Every draw is made for the global batch from a generator seeded by (seed, step, phase, name) and
then cut down to the samples of this process and micro-batch. So one or eight processes, one or
four micro-batches, and a resumed run all see the same numbers. Nothing here reads global state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

CPU = torch.device("cpu")


def stable_seed(*parts: object) -> int:
    """Hash `parts` to a seed in [0, 2^63), the same in every process and Python version."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@dataclass(frozen=True)
class Draws:
    """The draws of one phase of one step, for some of the samples of the global batch.

    Sample i of process `rank` out of `world` is sample rank + i * world of the global batch.
    Numbers are drawn in float32 and then converted, so that a float64 run sees the same ones.

    Attributes:
        seed: seed of the run.
        step: index of the step.
        phase: which update of the step, for example "d0" or "g".
        batch: samples in the global batch.
        rank, world: this process and how many there are.
        start, stop: which of this process's samples; stop None means to the last one.
        device, dtype: of the returned tensors; the generator lives on the device too.
        scope: prefix of every name.
    """

    seed: int
    step: int
    phase: str
    batch: int
    rank: int = 0
    world: int = 1
    start: int = 0
    stop: int | None = None
    device: torch.device = CPU
    dtype: torch.dtype = torch.float32
    scope: str = ""

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def positions(self) -> range:
        """Where in the global batch the samples of these draws are."""
        return range(self.batch)[self.rank :: self.world][self.start : self.stop]

    def slice(self, micro: slice) -> Draws:
        """Return the draws of some of these samples, the same numbers as before."""
        kept = range(len(self))[micro]
        if micro.step not in (None, 1):
            raise ValueError(f"Draws.slice: expected a step of 1, got {micro.step}")
        return replace(self, start=self.start + kept.start, stop=self.start + kept.stop)

    def scoped(self, prefix: str) -> Draws:
        """Return draws whose names start with `prefix`, for a second network or edge."""
        return replace(self, scope=f"{self.scope}{prefix}/")

    def normal(self, name: str, shape: Sequence[int] = ()) -> Tensor:
        """Return standard normal numbers [len(self), *shape]."""
        full = torch.empty(self.batch, *shape, device=self.device)
        return self._cut(full.normal_(generator=self._generator(name)))

    def uniform(self, name: str, shape: Sequence[int] = ()) -> Tensor:
        """Return numbers in [0, 1), [len(self), *shape]."""
        full = torch.empty(self.batch, *shape, device=self.device)
        return self._cut(full.uniform_(generator=self._generator(name)))

    def bernoulli(self, name: str, probability: float) -> Tensor:
        """Return bool [len(self)], True with the given probability."""
        return self.uniform(name) < probability

    def integers(self, name: str, low: int, high: int) -> Tensor:
        """Return int64 [len(self)], each in low..high-1."""
        full = torch.empty(self.batch, device=self.device, dtype=torch.int64)
        return self._cut(full.random_(low, high, generator=self._generator(name)))

    def layer_noise(self, name: str = "noise") -> Callable[[int, int, int], Tensor]:
        """Return noise(layer_index, height, width) -> [len(self), 1, height, width]."""

        def noise(layer_index: int, height: int, width: int) -> Tensor:
            return self.normal(f"{name}/{layer_index}", (1, height, width))

        return noise

    def _generator(self, name: str) -> torch.Generator:
        seed = stable_seed(self.seed, self.step, self.phase, self.scope + name)
        return torch.Generator(self.device).manual_seed(seed)

    def _cut(self, full: Tensor) -> Tensor:
        kept = full[self.rank :: self.world][self.start : self.stop]
        return kept.to(self.dtype) if kept.is_floating_point() else kept
