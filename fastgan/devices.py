"""Names of devices to devices that work here. A leaf."""

from __future__ import annotations

import torch

from fastgan.errors import ConfigError


def usable_device(device: torch.device | str) -> torch.device:
    """Return a device, with an index where its kind has any, after a tensor could be made on it.

    Args:
        device: such as "cpu", "cuda", "cuda:1"; "auto" is CUDA where there is one, else the CPU.

    Raises: ConfigError when it cannot be used here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.empty(1, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"device: cannot use {str(device)!r} here ({reason}); try cpu or auto"
        ) from error
    if found.type == "meta":
        raise ConfigError("device: meta has no memory to compute in; try cpu or auto")
    return found
