"""The device that is verified: its facts, its memory and its clock."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastgan.dispatch import probe
from fastgan.errors import BackendUnavailableError
from fastgan.timing import CudaTimer, Timer

DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Device:
    """A device.

    Attributes:
        kind: "cpu" or "cuda", as backends are asked.
        place: where tensors go.
        cuda: torch.cuda, or what stands in for it in a test.
    """

    kind: str
    place: str
    cuda: Any = torch.cuda

    @property
    def on_gpu(self) -> bool:
        """Whether memory and times are the GPU's."""
        return self.kind == "cuda"

    def memory(self) -> int:
        """Bytes of tensors that live on the device, after garbage is collected."""
        gc.collect()
        if self.on_gpu:
            self.cuda.synchronize()
            return int(self.cuda.memory_allocated())
        tensors = [x for x in gc.get_objects() if issubclass(type(x), Tensor)]
        dense = [x for x in tensors if x.device.type == "cpu" and x.layout == torch.strided]
        storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in dense}
        return sum(storages.values())

    def forget_peak(self) -> None:
        """Count the peak from here."""
        if self.on_gpu:
            self.cuda.reset_peak_memory_stats()

    def peak(self) -> int | None:
        """Most bytes allocated at once since then; None where nobody counts."""
        return int(self.cuda.max_memory_allocated()) if self.on_gpu else None

    def timer(self) -> Timer | None:
        """What times a call; None for the ordinary clock."""
        return CudaTimer(cuda=self.cuda, device=self.place) if self.on_gpu else None

    def facts(self) -> dict[str, str]:
        """What a result depends on beside the code."""
        facts = probe.versions()
        if not self.on_gpu:
            return facts
        properties = self.cuda.get_device_properties()
        driver = DRIVER.read_text(encoding="utf-8").splitlines() if DRIVER.exists() else []
        return facts | {
            "gpu": str(properties.name),
            "compute_capability": f"{properties.major}.{properties.minor}",
            "gpu_memory": f"{properties.total_memory / 2**30:.1f} GiB",
            "multiprocessors": str(properties.multi_processor_count),
            "driver": driver[0] if driver else "unknown",
        }


def open_device(name: str) -> Device:
    """The device called `name`.

    Raises: BackendUnavailableError, saying what is missing.
    """
    if name == "cpu":
        return Device("cpu", "cpu")
    if torch.version.cuda is None and torch.version.hip is None:
        raise BackendUnavailableError(
            f"device {name}: this torch {torch.__version__} is built for the CPU; install one for "
            "CUDA from https://pytorch.org/get-started, or say --device cpu"
        )
    if not torch.cuda.is_available():
        raise BackendUnavailableError(
            f"device {name}: torch {torch.__version__} finds no CUDA device; nvidia-smi says "
            "whether driver and GPU are there, CUDA_VISIBLE_DEVICES hides them, and --device cpu "
            "verifies the CPU"
        )
    return Device("cuda", name)
