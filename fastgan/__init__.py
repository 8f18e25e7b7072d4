"""fastgan: custom-kernel GANs for PyTorch.

Public names live here; the work is done in the rooms below (ops, nn, networks, recipes,
training, data, synthesis). Importing compiles nothing and touches no device.
"""

from typing import TYPE_CHECKING, Any

import torch  # noqa: F401  # before the extension: it links against torch's libraries

from fastgan import nn, ops
from fastgan._version import __version__
from fastgan.dispatch import use_backend
from fastgan.errors import (
    BackendUnavailableError,
    CheckpointError,
    ConfigError,
    DataError,
    FastganError,
)

if TYPE_CHECKING:
    from fastgan.synthesis.synthesizer import Synthesizer

__all__ = [
    "BackendUnavailableError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "FastganError",
    "Synthesizer",
    "__version__",
    "nn",
    "ops",
    "use_backend",
]


def __getattr__(name: str) -> Any:
    if name == "Synthesizer":  # networks and image files come with it, which ops do without
        from fastgan.synthesis.synthesizer import Synthesizer

        return Synthesizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
