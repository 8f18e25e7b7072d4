"""Fully connected pair: sizes, depth, conditions, errors."""

import pytest
import torch

from fastgan.errors import ConfigError
from fastgan.networks import (
    Discriminator,
    DiscriminatorOutput,
    Generator,
    MLPDiscriminator,
    MLPGenerator,
)


def test_pair_maps_latents_to_points_to_logits():
    generator, discriminator = MLPGenerator(8), MLPDiscriminator()
    points = generator(torch.randn(5, 8))
    output = discriminator(points)
    assert points.shape == (5, 2)
    assert isinstance(output, DiscriminatorOutput)
    assert output.logits.shape == (5, 1)
    assert output.features["hidden"].shape == (5, 64)
    assert (output.features["hidden"] >= 0).all()
    assert isinstance(generator, Generator)
    assert isinstance(discriminator, Discriminator)


def test_parameter_counts():
    def count(network):
        return sum(p.numel() for p in network.parameters())

    # Three hidden layers of 64: 8-64-64-64-2 and 2-64-64-64-1, each with biases.
    assert count(MLPGenerator(8)) == (8 + 1) * 64 + 2 * 65 * 64 + 65 * 2
    assert count(MLPDiscriminator()) == (2 + 1) * 64 + 2 * 65 * 64 + 65


def test_condition_is_concatenated():
    generator, discriminator = MLPGenerator(4, c_dim=3), MLPDiscriminator(c_dim=3)
    z, labels = torch.randn(1, 4), torch.eye(3)
    points = [generator(z, labels[i : i + 1]) for i in (0, 1)]
    assert not torch.equal(*points)
    with pytest.raises(ValueError, match=r"conditional, pass c \[N, 3\]"):
        discriminator(points[0])
    assert discriminator(points[0], labels[:1]).logits.shape == (1, 1)


def test_wrong_inputs_and_settings_are_refused():
    with pytest.raises(ValueError, match=r"z must be \[N, 4\]"):
        MLPGenerator(4)(torch.zeros(1, 5))
    with pytest.raises(ValueError, match=r"x must be \[N, 2\]"):
        MLPDiscriminator()(torch.zeros(1, 3))
    with pytest.raises(ConfigError, match="at least 1"):
        MLPGenerator(4, hidden=0)
