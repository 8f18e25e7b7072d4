"""Peak rates of GPUs, from their data sheets: bounds, not promises."""

from __future__ import annotations

from dataclasses import dataclass

from fastgan.errors import ConfigError
from fastgan.roofline.calls import DType


@dataclass(frozen=True)
class Machine:
    """A GPU.

    Attributes:
        name: for tables.
        bandwidth: bytes per second of its memory.
        tensor: floating-point operations per second of its tensor cores on float16 with float32
            sums, dense.
        tf32: the same on float32 rounded to TensorFloat-32.
        plain: the same of its ordinary cores on float32.
        source: where the numbers are from.
    """

    name: str
    bandwidth: float
    tensor: float
    tf32: float
    plain: float
    source: str

    def bound(self, traffic: float, products: float, rest: float, dtype: DType) -> float:
        """Least seconds for so many bytes, operations of convolutions, and other operations: the
        largest of the three, which may overlap. float32 has one kind of core for both kinds."""
        if dtype == "fp32":
            return max(traffic / self.bandwidth, (products + rest) / self.plain)
        peak = self.tensor if dtype == "fp16" else self.tf32
        return max(traffic / self.bandwidth, products / peak, rest / self.plain)


MACHINES = {
    "h100": Machine(
        "H100 SXM5 80 GB", 3.35e12, 989e12, 494.7e12, 67e12, "NVIDIA H100 data sheet, 2023"
    ),
    "a100": Machine(
        "A100 SXM4 80 GB", 2.039e12, 312e12, 156e12, 19.5e12, "NVIDIA A100 data sheet, 2021"
    ),
    "4090": Machine(
        "GeForce RTX 4090", 1.008e12, 165.2e12, 82.6e12, 82.6e12,
        "NVIDIA Ada GPU architecture whitepaper, 2022, appendix A",
    ),
}  # fmt: skip
_NAMES = {"H100": "h100", "A100": "a100", "RTX 4090": "4090"}


def machine(model: str) -> Machine:
    """The machine called `model`.

    Raises: ConfigError when it is not known.
    """
    if model not in MACHINES:
        raise ConfigError(f"--model must be one of {list(MACHINES)}, got {model!r}")
    return MACHINES[model]


def from_device_name(name: str) -> Machine | None:
    """The machine whose name is part of what the driver calls a GPU, or None."""
    return next((MACHINES[model] for part, model in _NAMES.items() if part in name), None)
