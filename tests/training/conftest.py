"""Small runs: points on a ring, and 16 x 16 shapes for a tiny StyleGAN2."""

from dataclasses import replace

import pytest
import torch

from fastgan import recipes
from fastgan.data import ArrayDataset, ring_mixture, shapes


@pytest.fixture(scope="session")
def ring():
    """2,000 points of the ring mixture."""
    points = ring_mixture().sample(2000, torch.Generator().manual_seed(0))
    return ArrayDataset(points, name="ring8")


@pytest.fixture(scope="session")
def pictures():
    """40 shapes, 16 x 16, labelled by kind."""
    drawn = shapes(40, 16, torch.Generator().manual_seed(0))
    return ArrayDataset(drawn.images, drawn.kind, name="shapes")


@pytest.fixture(scope="session")
def unlabelled(pictures):
    """The same 40 shapes without labels."""
    return ArrayDataset(torch.stack([pictures.image(i) for i in range(40)]), name="plain-shapes")


@pytest.fixture
def vanilla_config():
    """vanilla_config(**changes): ten steps of 32 points with an average and R1."""

    def make(**changes):
        base = recipes.preset("vanilla", "vanilla-ring8-r1")
        return replace(
            base, **{"batch": 32, "total_kimg": 0.32, "ema_kimg": 0.1, "ema_ramp": 0.5, **changes}
        )

    return make


@pytest.fixture(scope="session")
def tiny_config():
    """tiny_config(**changes): six steps of a StyleGAN2 with few channels, penalties every 2."""

    def make(**changes):
        base = recipes.preset("stylegan2", "stylegan2-lite")
        small = {"batch": 4, "channel_base": 128, "channel_max": 8, "z_dim": 8, "w_dim": 8}
        often = {"r1_every": 2, "pl_every": 2, "total_kimg": 0.024, "r1_gamma": 1.0}
        return replace(base, **{**small, **often, **changes})

    return make
