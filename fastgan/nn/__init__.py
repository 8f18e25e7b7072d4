"""Modules for users' own networks: layers with parameters, built on `fastgan.ops`."""

from fastgan.nn.spectral_norm import remove_spectral_norm, spectral_norm
from fastgan.nn.spectral_norm_group import spectral_norm_group

__all__ = ["remove_spectral_norm", "spectral_norm", "spectral_norm_group"]
