"""Seeds to images: one seed, one image, whatever the batch."""

import pytest
import torch

from fastgan.errors import ConfigError
from fastgan.networks import DCGANGenerator, MLPGenerator, StyleGAN2Generator
from fastgan.synthesis.sampling import (
    interpolate,
    latents_from_seeds,
    one_hot,
    parse_seeds,
    sample,
)


@pytest.fixture(scope="module")
def style():
    """A small StyleGAN2 with noise and a mean of w that matter."""
    torch.manual_seed(0)
    net = StyleGAN2Generator(8, 0, 8, 16, 3, channel_base=128, channel_max=16, mapping_layers=2)
    net.mapping.w_avg.copy_(torch.randn(8))
    for name, parameter in net.named_parameters():
        if name.endswith("noise_strength"):
            torch.nn.init.constant_(parameter, 0.5)
    return net


@pytest.fixture(scope="module")
def conditional():
    """A small StyleGAN2 with three classes."""
    torch.manual_seed(0)
    return StyleGAN2Generator(8, 3, 8, 8, 1, channel_base=64, channel_max=16, mapping_layers=1)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("7", [7]),
        ("0-3", [0, 1, 2, 3]),
        ("5,1,9", [5, 1, 9]),
        ("0-2, 9,4-4", [0, 1, 2, 9, 4]),
        ("100000000000000000", [10**17]),
    ],
)
def test_parse_seeds_reads_ranges_and_lists(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "a", "1-", "-1", "3-1", "1,,2", "1.5", "0-99999999999", "1e3", "9" * 30, "٣"]
)
def test_parse_seeds_refuses_anything_else(text):
    with pytest.raises(ConfigError, match="seeds"):
        parse_seeds(text)


def test_latents_belong_to_their_seeds():
    z = latents_from_seeds([3, 4, 5], 64)
    assert torch.equal(z[[2, 0]], latents_from_seeds([5, 3], 64))
    assert (z[0] - z[1]).abs().mean() > 0.1
    many = latents_from_seeds(range(400), 64)
    assert many.mean().abs() < 0.03
    assert (many.std() - 1).abs() < 0.03


@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
def test_an_image_does_not_depend_on_its_batch(style, noise_mode):
    seeds = [4, 0, 9, 2, 7]
    together = sample(style, seeds, noise_mode=noise_mode, batch=5)
    assert together.shape == (5, 16, 16, 3)
    for batch in (1, 2, 3):
        apart = sample(style, seeds, noise_mode=noise_mode, batch=batch)
        assert (apart.int() - together.int()).abs().max() <= 1
    alone = sample(style, [9], noise_mode=noise_mode)
    assert (alone[0].int() - together[2].int()).abs().max() <= 1


@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
def test_sampling_twice_gives_the_same_bytes(style, noise_mode):
    first = sample(style, [1, 2], noise_mode=noise_mode)
    torch.manual_seed(99)
    assert torch.equal(first, sample(style, [1, 2], noise_mode=noise_mode))


def test_noise_modes_differ(style):
    a, b, c = (sample(style, [1], noise_mode=mode) for mode in ("const", "random", "none"))
    assert not torch.equal(a, b)
    assert not torch.equal(a, c)
    assert not torch.equal(b, c)


def test_truncation_shrinks_the_differences_to_none(style):
    def spread(truncation):
        images = sample(style, [0, 1, 2, 3], truncation=truncation, noise_mode="none")
        return images.float().std(dim=0).mean()

    assert spread(0.0) == 0
    assert 0 < spread(0.5) < spread(1.0)


def test_sampling_leaves_the_mode_and_gradients_alone(style):
    style.train()
    sample(style, [0])
    assert style.training
    style.eval()
    sample(style, [0])
    assert not style.training
    assert all(parameter.grad is None for parameter in style.parameters())


def test_a_batch_norm_network_samples_in_evaluation_mode():
    torch.manual_seed(0)
    net = DCGANGenerator(16, 0, 16, 3, channels=4).train()
    together = sample(net, [0, 1, 2])
    assert (sample(net, [1])[0].int() - together[1].int()).abs().max() <= 1
    assert net.training


def test_labels_choose_the_class(conditional):
    seeds = [0, 1, 2, 3]
    default = sample(conditional, seeds)
    assert torch.equal(default, sample(conditional, seeds, labels=one_hot([0, 1, 2, 0], 3)))
    assert not torch.equal(default, sample(conditional, seeds, labels=one_hot([1, 1, 1, 1], 3)))


def test_one_hot_refuses_an_unknown_class():
    for wrong in (-1, 3):
        with pytest.raises(ConfigError, match="classes 0-2"):
            one_hot([0, wrong], 3)


def test_sample_refuses_what_does_not_fit(style, conditional):
    plain = DCGANGenerator(16, 0, 16, 3, channels=4)
    for net, options, message in (
        (style, {"batch": 0}, "batch"),
        (style, {"truncation": float("nan")}, "truncation"),
        (style, {"noise_mode": "loud"}, "noise_mode"),
        (style, {"labels": one_hot([0], 3)}, "not conditional"),
        (conditional, {"labels": torch.ones(1, 5)}, "labels"),
        (plain, {"truncation": 0.5}, "no mapping network"),
        (MLPGenerator(8), {}, "points"),
    ):
        with pytest.raises(ConfigError, match=message):
            sample(net, [0], **options)


def test_interpolation_passes_through_the_samples(style):
    seeds = [3, 5, 8]
    clip = interpolate(style, seeds, 4, truncation=0.7, batch=5)
    assert clip.shape == (12, 16, 16, 3)
    stills = sample(style, seeds, truncation=0.7)
    assert (clip[::4].int() - stills.int()).abs().max() <= 1
    steps = (clip.float() - clip.roll(1, 0).float()).abs().mean(dim=(1, 2, 3))
    assert steps.max() < (stills[0].float() - stills[1].float()).abs().mean()


def test_interpolation_works_without_a_mapping_network():
    torch.manual_seed(0)
    net = DCGANGenerator(16, 0, 16, 3, channels=4)
    clip = interpolate(net, [0, 1], 3)
    assert (clip[[0, 3]].int() - sample(net, [0, 1]).int()).abs().max() <= 1


def test_interpolation_between_classes(conditional):
    clip = interpolate(conditional, [0, 1], 3)
    assert (clip[[0, 3]].int() - sample(conditional, [0, 1]).int()).abs().max() <= 1
