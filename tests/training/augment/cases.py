"""Inputs of the tests of augmentation."""

import torch
from torch.autograd import gradcheck, gradgradcheck

from fastgan.training.draws import Draws

F64 = torch.float64


def draws(batch, dtype=torch.float32, **changes):
    return Draws(**{"seed": 1, "step": 2, "phase": "d0", "batch": batch, "dtype": dtype, **changes})


def images(*shape, dtype=F64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(5))


def assert_twice_differentiable(function, x):
    """The cube gives an affine function a second derivative that is not 0."""
    x = x.detach().requires_grad_()
    assert gradcheck(lambda x: function(x) ** 3, x)
    assert gradgradcheck(lambda x: function(x) ** 3, x)


def waves(height, width, channels=1, frequency=0.3):
    """Smooth images as a function of places in pixels from the middle: (image, function)."""

    def at(x, y):
        parts = [
            (frequency * (x * (1 + c / 4) + y / 2) + c).cos() + (frequency * y).sin()
            for c in range(channels)
        ]
        return torch.stack(parts, dim=-3)

    y = torch.arange(height, dtype=F64)[:, None] - (height - 1) / 2
    x = torch.arange(width, dtype=F64)[None, :] - (width - 1) / 2
    return at(x, y)[None], at
