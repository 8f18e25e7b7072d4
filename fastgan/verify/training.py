"""Times of a whole StyleGAN2: the training step and frames.

The place to add further measurements of networks: a function that returns dictionaries of
seconds, or a Skip that says why there are none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch

from fastgan.data import ArrayDataset, shapes
from fastgan.dispatch.select import use_backend
from fastgan.networks import StyleGAN2Generator
from fastgan.recipes import stylegan2
from fastgan.synthesis.synthesizer import Synthesizer
from fastgan.timing import measure
from fastgan.training.state import start_state
from fastgan.training.step import Step
from fastgan.verify.device import Device
from fastgan.verify.parity import Skip

RESOLUTION = 256
FRAMES = "frames of a StyleGAN2 at batch 1"
IMAGES = 64  # drawn again and again: only their number per step matters


def why_no_step(device: Device, *, quick: bool) -> Skip | None:
    """Why the training step is not timed, or None."""
    what = f"StyleGAN2-{RESOLUTION} training step"
    if not device.on_gpu:
        return Skip(what, "not measured: a step takes minutes on a CPU")
    return Skip(what, "not measured in a quick run") if quick else None


def time_step(
    device: Device, config: stylegan2.Config, resolution: int, rounds: int
) -> dict[str, dict[str, float]] | Skip:
    """Seconds of a training step with fastgan's kernels and with plain PyTorch, in turn; the
    minimum is a step without penalties.

    Args:
        device: where to train.
        config: settings of the recipe.
        resolution: of the images.
        rounds: timed steps of each; 16 have every penalty.
    """
    images = shapes(IMAGES, resolution, torch.Generator().manual_seed(0)).images
    dataset = ArrayDataset(images, name="shapes")
    config = replace(config, device=device.place)

    def contender(request: str) -> Callable[[], object]:
        step = Step(start_state(config, stylegan2, dataset))

        def run() -> object:
            with use_backend(request):
                return step()

        return run

    try:
        contenders = {"fastgan": contender("auto"), "eager": contender("reference")}
        timings = measure(contenders, rounds=rounds, warmup=2, max_seconds=180)
    except (RuntimeError, torch.OutOfMemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        return Skip(f"StyleGAN2-{resolution} training step", f"{type(error).__name__}: {reason}")
    return {name: asdict(timing) for name, timing in timings.items()}


def measure_networks(device: Device, *, quick: bool) -> tuple[dict[str, Any], list[Skip]]:
    """Times by name, and what was not measured."""
    reason = why_no_step(device, quick=quick)
    skipped: list[Skip | None] = [reason, None if reason is None else Skip(FRAMES, reason.reason)]
    found: dict[str, Any] = {}
    if reason is None:
        result = time_step(device, stylegan2.auto(RESOLUTION), RESOLUTION, rounds=16)
        if isinstance(result, Skip):
            skipped.append(result)
        else:
            found[f"StyleGAN2-{RESOLUTION} training step"] = result
        found[f"{FRAMES}, {RESOLUTION}"] = time_frames(device, stylegan2.auto(RESOLUTION))
    return found, [skip for skip in skipped if skip is not None]


def time_frames(device: Device, config: stylegan2.Config) -> dict[str, Any]:
    """Times of one image, from styles to bytes."""
    torch.manual_seed(0)
    generator = StyleGAN2Generator(
        config.z_dim, 0, config.w_dim, RESOLUTION, 3,
        channel_base=config.channel_base, channel_max=config.channel_max,
        mapping_layers=config.mapping_layers, conv_clamp=config.conv_clamp,
    ).to(device.place)  # fmt: skip
    synthesizer = Synthesizer(generator).warmup()
    ws = torch.zeros(1, generator.num_ws, config.w_dim)
    timings = measure({"fastgan": lambda: synthesizer.render_w(ws)}, rounds=30, max_seconds=60)
    return {name: asdict(timing) for name, timing in timings.items()}
