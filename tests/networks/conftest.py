"""Tiny StyleGAN2 pairs whose every parameter is set, so that no term of the forward is hidden."""

import pytest
import torch

from fastgan.networks import StyleGAN2Discriminator, StyleGAN2Generator

SMALL = {"channel_base": 128, "channel_max": 16, "mapping_layers": 2}


def scatter(network):
    """Move noise strengths, biases and w_avg, which start at constants, to random values."""
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith(("bias", "noise_strength", "w_avg")):
                tensor.add_(0.3 * torch.randn_like(tensor))
    return network


@pytest.fixture
def generator():
    """generator(resolution=16, c_dim=0, **options): a tiny StyleGAN2 generator."""

    def make(resolution=16, c_dim=0, **options):
        return scatter(StyleGAN2Generator(8, c_dim, 12, resolution, 3, **{**SMALL, **options}))

    return make


@pytest.fixture
def discriminator():
    """discriminator(resolution=16, c_dim=0, **options): a tiny StyleGAN2 discriminator."""

    def make(resolution=16, c_dim=0, **options):
        return scatter(StyleGAN2Discriminator(c_dim, resolution, 3, **{**SMALL, **options}))

    return make
