"""fastgan: custom-kernel GANs for PyTorch.

Public names live here; the work is done in the rooms below (ops, nn, networks, recipes,
training, data, synthesis). Importing compiles nothing and touches no device.
"""

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

__all__ = [
    "BackendUnavailableError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "FastganError",
    "__version__",
    "nn",
    "ops",
    "use_backend",
]
