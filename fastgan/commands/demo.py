"""`fastgan demo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Train a small StyleGAN2 on the shipped images for some minutes, then sample from it.

    Writes pictures of reals and fakes before and after, a video, the losses, the model and a
    report with speeds and quality numbers."""

    minutes: float = 5.0
    """Training time. Sampling and measuring add about half a minute."""
    out: Path = Path("out/demo")
    """Folder for the results; those of an earlier demo are replaced."""
    seed: int = 0
    """Seed of weights, data order and every draw."""

    def run(self) -> int:
        """Run the demo."""
        from dataclasses import replace

        from fastgan.demo import DemoSettings, demo_config, run_demo
        from fastgan.training import keep_freed_memory

        keep_freed_memory()
        settings = DemoSettings(minutes=self.minutes)
        run_demo(self.out, settings, replace(demo_config(), seed=self.seed))
        return 0
