"""The demo: train a small StyleGAN2 on the shipped images for some minutes, and show what came out.

It is an ordinary run of `fastgan.recipes.stylegan2` with ordinary hooks; only the choice of the
settings, the pictures and the report live here (the plot and the table in demo_report.py).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from fastgan import data
from fastgan.config import TrainConfig, check_range
from fastgan.data import Dataset, EpochSampler
from fastgan.demo_report import plot_losses, report_of, summary_table
from fastgan.files import write_json
from fastgan.metrics.diversity import mean_pairwise_distance
from fastgan.metrics.sliced_wasserstein import sliced_wasserstein
from fastgan.recipes import stylegan2
from fastgan.synthesis.images import enlarge, make_grid, save_png, to_uint8
from fastgan.synthesis.interpolation import walk
from fastgan.synthesis.model_file import load_generator, shipped_model
from fastgan.synthesis.sampling import labels_for_seeds, latents_from_seeds, sample
from fastgan.synthesis.synthesizer import Synthesizer
from fastgan.synthesis.video import write_video
from fastgan.training import TrainingState, start_state, train

RESOLUTION = 32
CALIBRATION_STEPS = 16  # one round of the lazy regularisers
CALIBRATION_SHARE = 0.05  # of the time, at most

PNG_TEXT: dict[str, str | bool] = {"synthetic": True, "Software": "fastgan demo"}

# At most (SWD) or at least (diversity); see `quality`.
BARS = {"swd_to_init": 0.35, "swd_to_mean_image": 0.5, "diversity": 0.6}


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """What the demo does beside training.

    Attributes:
        minutes: training time, the first measure of speed included.
        count: reals and fakes that the quality numbers compare.
        grid: images in the pictures.
        walks, stops, frames: the video shows so many walks at once, each through so many latents,
            with so many frames between two of them.
        frames_timed: images of the measure of synthesis speed.
    """

    minutes: float = 5.0
    count: int = 1000
    grid: int = 64
    walks: int = 8
    stops: int = 4
    frames: int = 24
    frames_timed: int = 200

    def __post_init__(self) -> None:
        check_range("minutes", self.minutes, above=0, high=7 * 24 * 60)


def demo_config() -> stylegan2.Config:
    """Settings that two CPU cores train to recognisable creatures in five minutes.

    About 1,400 small steps have to do. Found by trial: high rates, with strong R1 and R2 that keep
    D from winning; packs of two, without which some colours crowd out the others; no noise inputs,
    which turn into speckle on flat art.
    """
    return stylegan2.Config(
        batch=16,
        lr_g=0.01,
        lr_d=0.01,
        r1_gamma=4.0,
        r2_gamma=4.0,
        r1_every=8,
        pl_weight=0.0,
        style_mixing=0.0,
        use_noise=False,
        pack=2,
        ema_kimg=1.5,
        ema_ramp=0.05,
        z_dim=64,
        w_dim=64,
        mapping_layers=2,
        channel_base=768,
        channel_max=48,
        sample_kimg=0.0,
        checkpoint_kimg=0.0,
        tensorboard=False,
    )


def demo_dataset() -> Dataset:
    """The shipped images at the demo's resolution."""
    return data.ImageDataset(data.shipped(), resolution=RESOLUTION)


def run_demo(
    out: Path,
    settings: DemoSettings | None = None,
    config: TrainConfig | None = None,
    dataset: Dataset | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Train, sample, measure, and write everything into a folder.

    Args:
        out: the folder; files of an earlier demo in it are replaced.
        settings: None takes the defaults. config: None takes `demo_config()`.
        dataset: images; None takes the shipped ones.
        console: where to print; None is the terminal.

    Returns: what report.json holds.
    Raises: FastganError or OSError as training and writing do.
    """
    settings, config = settings or DemoSettings(), config or demo_config()
    console, started = console or Console(), time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    dataset = dataset or demo_dataset()
    reals = _reals(dataset, settings.count)
    fresh = _generator_of(start_state(config, stylegan2, dataset))
    init = sample(fresh, range(settings.count))
    _picture(out / "reals.png", reals[: settings.grid], synthetic=False)
    _picture(out / "fakes_init.png", init[: settings.grid])

    config = _fit_to_time(config, dataset, settings.minutes, out, console)
    state = train(config, stylegan2, dataset, out)
    seconds = state.seconds

    generator = load_generator(out / "model.safetensors")
    synthesizer = Synthesizer(generator).warmup()
    fakes = torch.from_numpy(synthesizer.render(seeds=range(settings.count)))
    _picture(out / "fakes.png", fakes[: settings.grid])
    _pretrained(out / "pretrained.png", settings.grid)
    video = write_video(out / "interpolation.mp4", _walks(synthesizer, settings), settings.frames)
    plotted = plot_losses(out / "metrics.jsonl", out / "losses.png")
    if not plotted:
        console.print(
            "losses.png left out: matplotlib is not installed (pip install fastgan[demo])"
        )
    report = report_of(state, seconds, generator) | {
        "synthesis": _speed(synthesizer, settings.frames_timed),
        "quality": quality(reals, init, fakes),
        "video": video.name,
        "wall_seconds": round(time.monotonic() - started, 2),
    }
    write_json(out / "report.json", report)
    console.print(summary_table(report, out))
    return report


def quality(reals: Tensor, init: Tensor, fakes: Tensor) -> dict[str, Any]:
    """Compare fakes with reals on pixels.

    Args:
        reals, init, fakes: as many images each, uint8 [N, H, W, C]; init is the untrained network.

    Returns: sliced Wasserstein distances to the reals (of two halves of the reals: the floor that
        N images allow), their ratios, the ratio of mean pairwise distances of fakes and reals, the
        bars and whether they are met.
    """
    x, half = _floats(reals), len(reals) // 2
    mean_image = x.mean(dim=0, keepdim=True).expand_as(x)
    swd = {
        "init": sliced_wasserstein(_floats(init), x),
        "trained": sliced_wasserstein(_floats(fakes), x),
        "mean_image": sliced_wasserstein(mean_image, x),
        "reals_halves": sliced_wasserstein(x[:half], x[half : 2 * half]),
    }
    distance = {
        "reals": mean_pairwise_distance(x),
        "fakes": mean_pairwise_distance(_floats(fakes)),
    }
    ratios = {
        "swd_to_init": swd["trained"] / swd["init"],
        "swd_to_mean_image": swd["trained"] / swd["mean_image"],
        "diversity": distance["fakes"] / distance["reals"],
    }
    return {
        "images": len(reals),
        "swd": swd,
        "mean_pairwise_distance": distance,
        "ratios": ratios,
        "bars": BARS,
        "met": {
            name: ratios[name] >= bar if name == "diversity" else ratios[name] <= bar
            for name, bar in BARS.items()
        },
    }


def _floats(images: Tensor) -> Tensor:
    return images.float().div(127.5).sub(1.0)


def _reals(dataset: Dataset, count: int) -> Tensor:
    """The first images of a shuffled pass, as bytes [count, H, W, C]."""
    images, _ = dataset.batch(EpochSampler(len(dataset), 0).indices(0, count))
    return to_uint8(images)


def _generator_of(state: TrainingState) -> nn.Module:
    return state.players["g"].sampling_nets[state.recipe.edges[0].generator]


def _fit_to_time(
    config: TrainConfig, dataset: Dataset, minutes: float, out: Path, console: Console
) -> TrainConfig:
    """Measure the speed of training here, and set length and averaging for the time there is."""
    started = time.monotonic()
    trial = replace(
        config,
        total_kimg=CALIBRATION_STEPS * config.batch / 1000,
        max_minutes=minutes * CALIBRATION_SHARE,
    )
    state = train(trial, stylegan2, dataset, out, hooks=())
    if state.stopped is not None and state.stopped.startswith("interrupted"):
        raise KeyboardInterrupt
    seconds = time.monotonic() - started
    rate, remaining = state.images_seen / seconds, max(minutes * 60 - seconds, 1.0)
    expected = max(rate * remaining, config.batch)
    console.print(
        f"{rate:.0f} images/s in the first {seconds:.0f} s: expecting about "
        f"{expected / 1000:.1f} thousand images in {minutes:g} minutes"
    )
    return replace(
        config,
        total_kimg=20 * expected / 1000,  # the clock ends the run, however slow the trial was
        max_minutes=remaining / 60,
        log_kimg=max(expected / 100_000, 1e-3),
        ema_kimg=min(config.ema_kimg, 0.075 * expected / 1000),
    )


def _picture(path: Path, images: Tensor, *, synthetic: bool = True) -> None:
    grid = make_grid(enlarge(images, 2), padding=2)
    save_png(path, grid, PNG_TEXT | {"synthetic": synthetic})


def _pretrained(path: Path, count: int) -> None:
    """What some hours of training make of the same images: the model that is shipped."""
    images = Synthesizer.from_checkpoint(shipped_model()).render(seeds=range(count))
    save_png(path, make_grid(torch.from_numpy(images)), PNG_TEXT)


def _walks(synthesizer: Synthesizer, settings: DemoSettings) -> Tensor:
    """Several closed walks in W side by side, [frames, H, W, C]."""
    walks = []
    for first in range(1000, 1000 + settings.walks * settings.stops, settings.stops):
        seeds = range(first, first + settings.stops)
        z = latents_from_seeds(seeds, synthesizer.z_dim)
        stops = synthesizer.map(z, labels_for_seeds(synthesizer.c_dim, seeds, None)).cpu()
        frames = torch.from_numpy(synthesizer.render_w(walk(stops, settings.frames)))
        walks.append(enlarge(frames, 3))
    columns = (settings.walks + 1) // 2
    return torch.stack([make_grid(torch.stack(f), columns) for f in zip(*walks, strict=True)])


def _speed(synthesizer: Synthesizer, count: int) -> Mapping[str, Any]:
    """Frames per second at batch 1, constant noise, from latent to bytes."""
    latents = torch.randn(count, 1, synthesizer.z_dim)
    labels = labels_for_seeds(synthesizer.c_dim, [0], None)
    for z in latents[:5]:
        synthesizer.render(z, labels=labels)
    seconds = []
    for z in latents:
        started = time.perf_counter()
        synthesizer.render(z, labels=labels)
        seconds.append(time.perf_counter() - started)
    seconds.sort()
    return {
        "engine": synthesizer.engine,
        "batch": 1,
        "frames": count,
        "frames_per_second": count / sum(seconds),
        "median_milliseconds": seconds[count // 2] * 1000,
    }
