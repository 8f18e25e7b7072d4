"""Make the shipped model out of a run: weights in half precision, and a report of what they are.

    fastgan train --data shipped --preset stylegan2-lite --out out/critters ...
    python tools/make_pretrained.py --run out/critters

Writes fastgan/assets/critters64.safetensors and critters64.json. Needs fastgan[metrics].
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from fastgan.data import ImageDataset, shipped
from fastgan.dispatch import probe
from fastgan.files import sha256, write_json
from fastgan.metrics.collect import collect
from fastgan.metrics.evaluate import Comparison, evaluate
from fastgan.metrics.extractors import make_extractor
from fastgan.metrics.sources import RealImages, RenderedImages
from fastgan.synthesis.model_file import SHIPPED, load_model, save_model
from fastgan.synthesis.synthesizer import Synthesizer, psnr

ASSETS = Path(__file__).resolve().parents[1] / "fastgan" / "assets"
MOST_BYTES = 12 * 10**6
METRICS = ("kid", "fd", "pr", "dc", "nn")


@dataclass(frozen=True)
class Options:
    """What to ship."""

    run: Path
    """Folder of the run."""
    fakes: int = 4096
    """Fakes that are measured, as many as there are reals."""


def main(options: Options) -> None:
    """Halve, write, measure."""
    model = options.run / "model.safetensors"
    generator, info = load_model(model)
    exact = Synthesizer(generator).render(seeds=range(64))
    path = save_model(ASSETS / f"{SHIPPED}.safetensors", generator.half(), info)
    if path.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{path}: {path.stat().st_size} bytes, more than {MOST_BYTES}")
    synthesizer = Synthesizer.from_checkpoint(path)
    report: dict[str, Any] = {
        "file": {"bytes": path.stat().st_size, "sha256": sha256(path)},
        "psnr_of_half_precision_db": psnr(synthesizer.render(seeds=range(64)), exact),
        "training": _training(options.run, info.images_seen, dict(info.config)),
        "scores": _scores(synthesizer, options.fakes),
        "versions": probe.versions(),
    }
    write_json(path.with_suffix(".json"), report)
    print(json.dumps(report["scores"], indent=2))


def _training(run: Path, images: int, config: dict[str, Any]) -> dict[str, Any]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    rate = statistics.median(line["images_per_second"] for line in lines)
    return {
        "preset": "stylegan2-lite",
        "data": "the 4,096 shipped critters",
        "images": images,
        "images_per_second": rate,
        "hours": round(_seconds(lines, rate) / 3600, 2),
        "threads": torch.get_num_threads(),
        "augment_p": lines[-1]["augment_p"],
        "config": config,
    }


def _seconds(lines: list[dict[str, Any]], median: float) -> float:
    """Seconds of training. A line much slower than others is of a time in which the run stood
    still for other work; its images count as if they had come at the median rate."""
    total = previous = 0.0
    for line in lines:
        images = (line["kimg"] - previous) * 1000
        previous = line["kimg"]
        rate = line["images_per_second"]
        total += images / (rate if rate > median / 2 else median)
    return total


def _scores(synthesizer: Synthesizer, count: int) -> dict[str, Any]:
    extractor = make_extractor("efflite0")
    reals = RealImages(ImageDataset(shipped()))

    def render(numbers: Any) -> torch.Tensor:
        return torch.from_numpy(synthesizer.render(seeds=list(numbers))).permute(0, 3, 1, 2)

    fakes = collect(RenderedImages(count, render), extractor)
    found = collect(reals, extractor)
    halves = Comparison(found.rows(slice(0, None, 2)), found.rows(slice(1, None, 2)), extractor,
                        "even against odd", 0)  # fmt: skip
    comparison = Comparison(found, fakes, extractor, reals.split, 0)
    return {
        "fakes": [str(score) for score in evaluate(METRICS, comparison)],
        "reals_against_reals": [str(score) for score in evaluate(METRICS, halves)],
    }


if __name__ == "__main__":
    main(tyro.cli(Options))
