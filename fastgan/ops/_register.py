"""The one place that registers operators with torch. Holds no mathematics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

# Kept alive for the life of the process: dropping it would unregister the ops.
_LIBRARY = torch.library.Library("fastgan", "DEF")


def register(
    schema: str,
    forward: Callable[..., Any],
    fake: Callable[..., Any],
    *,
    setup_context: Callable[..., None] | None = None,
    backward: Callable[..., Any] | None = None,
) -> None:
    """Define `torch.ops.fastgan.<name>` from its schema.

    Args:
        schema: torch schema, such as "f(Tensor x, str backend) -> Tensor". By convention the last
            argument is the backend's name, fixed by `fastgan.dispatch.select`.
        forward: computes the op; never records gradients.
        fake: shapes, dtypes and strides of the outputs without data.
        setup_context: saves what `backward` needs.
        backward: gradients, composed of differentiable operators only.
    """
    name = schema.split("(")[0]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name, forward, "CompositeExplicitAutograd")
    torch.library.register_fake(f"fastgan::{name}", fake, lib=_LIBRARY)
    if backward is not None:
        torch.library.register_autograd(
            f"fastgan::{name}", backward, setup_context=setup_context, lib=_LIBRARY
        )
