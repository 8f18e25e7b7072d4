"""`fastgan tune`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Measure the fastest way to compute each layer of a model on this CPU and remember it: the
    Synthesizer takes it from then on, for single images. Run it while nothing else is running."""

    model: Path
    """The model: a model.safetensors, or the folder of a run."""
    rounds: int = 5
    """Runs of each way; the fastest counts."""
    half: bool = False
    """For the Synthesizer's precision fp16."""

    def run(self) -> int:
        """Measure and print what was found."""
        from rich.console import Console

        from fastgan.errors import ConfigError
        from fastgan.networks import StyleGAN2Generator
        from fastgan.synthesis import cpu_engine, tuning
        from fastgan.synthesis.model_file import find_model, load_generator

        generator = load_generator(find_model(self.model))
        reason = cpu_engine.why_not(generator)
        if reason is not None or not isinstance(generator, StyleGAN2Generator):
            raise ConfigError(f"tune: the C++ engine does not serve this model: {reason}")
        if self.rounds < 1:
            raise ConfigError(f"rounds: expected at least 1, got {self.rounds}")
        console = Console()

        def report(found: tuning.Measured) -> None:
            shape = found.shape
            kind = "up" if shape.up else "conv"
            console.print(
                f"{kind} {shape.in_channels}->{shape.out_channels} {shape.height}x{shape.width}: "
                f"{found.default_seconds * 1e3:.2f} ms -> {found.seconds * 1e3:.2f} ms "
                f"{found.choice}",
                markup=False, highlight=False,
            )  # fmt: skip

        shapes = cpu_engine.conv_shapes(generator)
        tuning.tune(shapes, half=self.half, rounds=self.rounds, report=report)
        console.print(f"kept in {tuning.cache_file()}; delete it to go back to the defaults")
        return 0
