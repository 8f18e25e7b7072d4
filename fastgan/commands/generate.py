"""`fastgan generate`: a model file and seeds -> PNG files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fastgan.errors import ConfigError

if TYPE_CHECKING:  # torch comes with `run`, so that --help stays quick
    import numpy as np
    from torch import Tensor

    from fastgan.synthesis.synthesizer import Synthesizer


@dataclass(frozen=True)
class Options:
    """Make images with a trained model: one PNG per seed, and a grid of all of them.

    A seed gives the same image in every run and every batch. Each PNG says in its text entries
    that it is synthetic, and from which model, seed and truncation it came."""

    model: Path | None = None
    """The model.safetensors that training wrote, or the folder of the run. Left out: the model of
    64 x 64 critters that comes with fastgan."""
    out: Path = Path("out/generate")
    """Folder for the images; made when it is not there."""
    seeds: str = "0-15"
    """Seeds such as 0-15, or 1,5,9, or a mix of both."""
    truncation: float = 1.0
    """Below 1: closer to the average image, more typical and less varied. 1 is off."""
    noise_mode: Literal["const", "random", "none"] = "const"
    """Fine detail from the model's stored noise, from the seed, or none."""
    classes: str | None = None
    """For conditional models: class numbers such as 3 or 0-9, repeated over the seeds.
    Left out: class = seed modulo the number of classes."""
    batch: int = 16
    """Images per forward pass; large ones are split."""
    columns: int | None = None
    """Images per row of the grid. Left out: as square as possible."""
    device: str = "cpu"
    """Where to run: cpu, cuda, cuda:1, ..."""
    precision: Literal["fp32", "fp16"] = "fp32"
    """fp16: weights in half precision, which takes less memory; says how far it is from fp32."""

    def run(self) -> int:
        """Load, render and write."""
        import torch

        from fastgan.synthesis.images import make_grid
        from fastgan.synthesis.model_file import find_model, load_model, shipped_model
        from fastgan.synthesis.sampling import parse_seeds
        from fastgan.synthesis.synthesizer import MANY, Synthesizer

        seeds = list(dict.fromkeys(parse_seeds(self.seeds)))  # a file for each
        for name, value in (("columns", self.columns), ("batch", self.batch)):
            if value is not None and value < 1:
                raise ConfigError(f"{name}: expected at least 1, got {value}")
        path = shipped_model() if self.model is None else find_model(self.model)
        generator, info = load_model(path)
        labels = self._labels(info.c_dim, len(seeds))
        synthesizer = Synthesizer(
            generator,
            device=self.device,
            precision=self.precision,
            truncation_psi=self.truncation,
            noise_mode=self.noise_mode,
            batch=MANY,
        )
        del generator  # the synthesizer has its own weights
        self.out.mkdir(parents=True, exist_ok=True)
        images = torch.from_numpy(self._render(synthesizer, seeds, labels))
        self._write(seeds, images, make_grid(images, self.columns), path)
        print(f"{len(seeds)} images and grid.png in {self.out}")
        return 0

    def _render(
        self, synthesizer: Synthesizer, seeds: list[int], labels: Tensor | None
    ) -> np.ndarray:
        import numpy as np

        from fastgan.synthesis.sampling import batches

        return np.concatenate(
            [
                synthesizer.render(seeds=seeds[r], labels=None if labels is None else labels[r])
                for r in batches(len(seeds), self.batch)
            ]
        )

    def _labels(self, c_dim: int, count: int) -> Tensor | None:
        from fastgan.synthesis.sampling import one_hot, parse_seeds

        if self.classes is None:
            return None
        if c_dim == 0:
            raise ConfigError("classes: the model is not conditional; leave --classes out")
        given = parse_seeds(self.classes, "classes")
        return one_hot([given[i % len(given)] for i in range(count)], c_dim)

    def _write(self, seeds: list[int], images: Tensor, grid: Tensor, model: Path) -> None:
        from fastgan import __version__
        from fastgan.files import sha256
        from fastgan.synthesis.images import save_png

        origin: dict[str, str | float | bool] = {
            "synthetic": True,
            "Software": f"fastgan {__version__}",
            "model_sha256": sha256(model),
            "truncation": self.truncation,
            "noise_mode": self.noise_mode,
            "precision": self.precision,
        }
        for seed, image in zip(seeds, images, strict=True):
            save_png(self.out / f"seed{seed:04d}.png", image, {**origin, "seed": seed})
        save_png(self.out / "grid.png", grid, {**origin, "seeds": self.seeds})
