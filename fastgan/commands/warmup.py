"""`fastgan warmup`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Options:
    """Compile the Triton kernels of a StyleGAN2 ahead: run each of its ops once, forward and both
    backwards, so that Triton's cache is filled and training starts at full speed."""

    device: str = "cuda"
    """The GPU to compile for: cuda, cuda:1, ..."""
    resolution: int = 256
    """Side of the images; batch and widths are those of the preset."""
    dtype: tuple[Literal["fp32", "fp16"], ...] = ("fp16", "fp32")
    """Types of the images."""
    batch: int | None = None
    """Images. None: those of the preset."""

    def run(self) -> int:
        """Compile and say what was."""
        import sys

        from rich.console import Console

        from fastgan.errors import BackendUnavailableError
        from fastgan.verify import warmup

        try:
            warmup.run(self.device, self.resolution, self.batch, self.dtype, Console())
        except BackendUnavailableError as error:
            print(f"fastgan: nothing was compiled: {error}", file=sys.stderr)
            return 1
        return 0
