"""Modules for users' own networks: layers with parameters, built on `fastgan.ops`."""

from fastgan.nn.spectral_norm import remove_spectral_norm, spectral_norm

__all__ = ["remove_spectral_norm", "spectral_norm"]
