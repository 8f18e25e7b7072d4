"""Choice of the backend that serves a call. Holds no kernel and no operator."""

from fastgan.dispatch.registry import BACKENDS, OPS, launcher, provides
from fastgan.dispatch.select import select, use_backend

__all__ = ["BACKENDS", "OPS", "launcher", "provides", "select", "use_backend"]
