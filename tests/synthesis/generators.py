"""Small generators of every kind that a Synthesizer serves, with every parameter at work."""

import torch

from fastgan.networks import DCGANGenerator, StyleGAN2Generator
from tests.networks.conftest import SMALL, scatter

STYLES = {
    "skip": {},
    "resnet": {"architecture": "resnet"},
    "orig": {"architecture": "orig"},
    "wide": {"img_resolution": (16, 24)},
    "grey": {"img_channels": 1},
    "rgba": {"img_channels": 4},
    "classes": {"c_dim": 3},
    "no noise": {"use_noise": False},
    "clamped": {"conv_clamp": 1.5, "num_fp16_res": 2},
    "three taps": {"resample_filter": (1, 2, 1)},
}


def style_generator(**options):
    """A StyleGAN2 generator, of 16 x 16 RGB images where the options say nothing else."""
    sizes = {"z_dim": 8, "c_dim": 0, "w_dim": 12, "img_resolution": 16, "img_channels": 3}
    torch.manual_seed(0)
    return scatter(StyleGAN2Generator(**{**sizes, **SMALL, **options})).eval()


def plain_generator(c_dim=0):
    """A DCGAN generator whose batch norm has seen data."""
    torch.manual_seed(0)
    network = DCGANGenerator(16, c_dim, 16, 3, channels=4)
    with torch.no_grad():
        network(torch.randn(32, 16), torch.randn(32, c_dim) if c_dim else None)
    return network.eval()


def levels(a, b):
    """Largest difference of two uint8 images, in levels."""
    return int((torch.as_tensor(a).int() - torch.as_tensor(b).int()).abs().max())
