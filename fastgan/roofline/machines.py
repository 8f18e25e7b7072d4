"""Peak rates of GPUs, from their data sheets: bounds, not promises."""

from __future__ import annotations

from dataclasses import dataclass

from fastgan.errors import ConfigError


@dataclass(frozen=True)
class Machine:
    """A GPU.

    Attributes:
        name: for tables.
        bandwidth: bytes per second of its memory.
        tensor: floating-point operations per second of its tensor cores on float16 with float32
            sums, dense.
        plain: the same of its ordinary cores on float32.
        source: where the numbers are from.
    """

    name: str
    bandwidth: float
    tensor: float
    plain: float
    source: str

    def bound(self, traffic: float, flops: float, *, tensor_cores: bool) -> float:
        """Least seconds for so many bytes and operations: the larger of the two."""
        return max(traffic / self.bandwidth, flops / (self.tensor if tensor_cores else self.plain))


MACHINES = {
    "h100": Machine("H100 SXM5 80 GB", 3.35e12, 989e12, 67e12, "NVIDIA H100 data sheet, 2023"),
    "a100": Machine("A100 SXM4 80 GB", 2.039e12, 312e12, 19.5e12, "NVIDIA A100 data sheet, 2021"),
    "4090": Machine(
        "GeForce RTX 4090", 1.008e12, 165.2e12, 82.6e12,
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
