"""A discriminator of packs: which samples meet, conditions, gradients, errors, training."""

from dataclasses import replace

import pytest
import torch

from fastgan import recipes
from fastgan.data import ArrayDataset
from fastgan.errors import ConfigError
from fastgan.networks import MLPDiscriminator, PackedDiscriminator, StyleGAN2Discriminator
from fastgan.training import Step, start_state


def test_neighbours_are_judged_together_and_others_are_not():
    packed = PackedDiscriminator(StyleGAN2Discriminator(0, 16, 6, channel_max=8,
                                                        mbstd_num_channels=0), 2)  # fmt: skip
    x = torch.randn(6, 3, 16, 16, requires_grad=True)
    output = packed(x)
    assert output.logits.shape == (3, 1)
    (gradient,) = torch.autograd.grad(output.logits[1, 0], x)
    touched = [bool(image.abs().sum() > 0) for image in gradient]
    assert touched == [False, False, True, True, False, False]


def test_logits_are_those_of_the_network_on_stacked_samples():
    net = MLPDiscriminator(4, c_dim=6)
    packed, x, labels = PackedDiscriminator(net, 2), torch.randn(4, 2), torch.eye(4, 3)
    stacked = torch.stack([torch.cat([x[0], x[1]]), torch.cat([x[2], x[3]])])
    conditions = torch.stack([torch.cat([labels[0], labels[1]]), torch.cat([labels[2], labels[3]])])
    assert packed.c_dim == 3
    torch.testing.assert_close(packed(x, labels).logits, net(stacked, conditions).logits)


def test_memory_format_does_not_matter():
    packed = PackedDiscriminator(StyleGAN2Discriminator(0, 16, 6, channel_max=8), 2)
    x = torch.randn(4, 3, 16, 16)
    other = packed(x.to(memory_format=torch.channels_last)).logits
    torch.testing.assert_close(packed(x).logits, other)


def test_errors_say_what_to_change():
    packed = PackedDiscriminator(MLPDiscriminator(4), 2)
    with pytest.raises(ValueError, match="expected a multiple of 2 samples, got 3; change the bat"):
        packed(torch.zeros(3, 2))
    with pytest.raises(ConfigError, match="divide the network's c_dim, got pack 2 and c_dim 3"):
        PackedDiscriminator(MLPDiscriminator(4, c_dim=3), 2)
    with pytest.raises(ConfigError, match="batch must be a multiple of pack 3, got 32"):
        replace(recipes.preset("stylegan2", "stylegan2-32"), pack=3)


def test_a_packed_step_is_the_same_in_micro_batches():
    dataset = ArrayDataset(torch.randint(256, (8, 3, 16, 16), dtype=torch.uint8), name="noise")
    config = replace(
        recipes.preset("stylegan2", "stylegan2-lite"), batch=4, pack=2, mbstd_group=1,
        z_dim=8, w_dim=8, channel_max=8, precision="float64", total_kimg=1.0,
    )  # fmt: skip
    found = []
    for micro in (None, 2):
        state = start_state(replace(config, micro_batch=micro), recipes.get("stylegan2"), dataset)
        Step(state)()
        found.append(state.players["d"].parameters)
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-9, atol=1e-12)


def test_a_generator_without_noise_has_no_noise_parameters():
    dataset = ArrayDataset(torch.zeros(8, 3, 16, 16, dtype=torch.uint8), name="black")
    config = replace(recipes.preset("stylegan2", "stylegan2-lite"), use_noise=False, z_dim=8,
                     w_dim=8, channel_max=8)  # fmt: skip
    generator = recipes.get("stylegan2").build(config, dataset).players["g"].nets["G"]
    assert not [name for name in generator.state_dict() if "noise" in name]
    z = torch.randn(2, 8)
    torch.testing.assert_close(generator(z), generator(z), rtol=0, atol=0)
