"""Presets, what recipes build, and what they refuse."""

from dataclasses import replace

import pytest
import torch

from fastgan import recipes
from fastgan.data import ArrayDataset
from fastgan.errors import ConfigError
from fastgan.networks import DCGANDiscriminator, DCGANGenerator
from fastgan.training import LabelConditioning, PathLength


def points(dim=2):
    return ArrayDataset(torch.zeros(8, dim), name="points")


def images(channels=3, height=16, width=16, labels=None):
    pixels = torch.zeros(8, channels, height, width, dtype=torch.uint8)
    return ArrayDataset(pixels, labels, name="images")


def small(preset, **changes):
    few = {"channel_base": 128, "channel_max": 8, "z_dim": 8, "w_dim": 8, "mapping_layers": 1}
    return replace(recipes.preset("stylegan2", preset), **{**few, **changes})


def test_unknown_names_are_listed():
    assert set(recipes.names()) >= {"vanilla", "dcgan", "stylegan2"}
    with pytest.raises(ConfigError, match="recipe: expected one of dcgan, stylegan2, vanilla"):
        recipes.get("stylegan9")
    with pytest.raises(ConfigError, match="expected one of dcgan-64"):
        recipes.preset("dcgan", "dcgan-65")


@pytest.mark.parametrize(
    ("resolution", "batch", "lr", "base", "ema"),
    [
        (32, 32, 0.0025, 16384, 10.0),
        (64, 32, 0.0025, 16384, 10.0),
        (128, 32, 0.0025, 16384, 10.0),
        (256, 16, 0.0025, 16384, 5.0),
        (512, 8, 0.0025, 32768, 2.5),
        (1024, 4, 0.002, 32768, 1.25),
    ],
)
def test_stylegan2_automatic_settings(resolution, batch, lr, base, ema):
    config = recipes.preset("stylegan2", f"stylegan2-{resolution}")
    assert (config.batch, config.lr_g, config.lr_d) == (batch, lr, lr)
    assert (config.channel_base, config.ema_kimg, config.ema_ramp) == (base, ema, 0.05)
    assert (config.mapping_layers, config.mbstd_group) == (2, 4)
    assert (config.num_fp16_res, config.conv_clamp) == (4, 256.0)
    assert (config.beta1, config.beta2, config.style_mixing) == (0.0, 0.99, 0.9)


@pytest.mark.parametrize(
    ("name", "batch", "group", "base", "lr", "gamma", "ema", "layers", "kimg"),
    [
        ("config-f", 32, 4, 32768, 0.002, 10.0, 10.0, 8, 25000),
        ("paper256", 64, 8, 16384, 0.0025, 1.0, 20.0, 8, 25000),
        ("paper512", 64, 8, 32768, 0.0025, 0.5, 20.0, 8, 25000),
        ("paper1024", 32, 4, 32768, 0.002, 2.0, 10.0, 8, 25000),
        ("cifar", 64, 32, 32768, 0.0025, 0.01, 500.0, 2, 100000),
    ],
)
def test_stylegan2_published_settings(name, batch, group, base, lr, gamma, ema, layers, kimg):
    config = recipes.preset("stylegan2", f"stylegan2-{name}")
    assert (config.batch, config.mbstd_group, config.channel_base) == (batch, group, base)
    assert (config.lr_g, config.r1_gamma, config.ema_kimg) == (lr, gamma, ema)
    assert (config.mapping_layers, config.total_kimg) == (layers, kimg)
    assert (config.r1_every, config.pl_every) == (16, 4)
    assert config.ema_ramp == (0.05 if name == "cifar" else None)
    assert (config.pl_weight, config.style_mixing) == ((0, 0) if name == "cifar" else (2.0, 0.9))


def test_stylegan2_gamma_follows_from_pixels_and_batch():
    module = recipes.get("stylegan2")
    r1, _ = module.build(small("stylegan2-lite", batch=4), images(height=16, width=32)).regularizers
    assert r1.gamma == pytest.approx(0.0002 * 16 * 32 / 4)
    (only,) = module.build(small("stylegan2-lite", r1_gamma=0.0), images()).regularizers
    assert isinstance(only, PathLength)
    assert module.build(small("stylegan2-cifar", r1_gamma=0.0), images()).regularizers == ()


def test_lite_networks_are_the_ones_of_the_benchmarks():
    config = recipes.preset("stylegan2", "stylegan2-lite")
    assert (config.channel_base, config.channel_max, config.mapping_layers) == (4096, 128, 2)


def test_dcgan_has_the_published_networks():
    recipe = recipes.get("dcgan").build(recipes.preset("dcgan", "dcgan-64"), images(3, 64, 64))
    g, d = recipe.players["g"].nets["G"], recipe.players["d"].nets["D"]
    assert isinstance(g, DCGANGenerator)
    assert isinstance(d, DCGANDiscriminator)
    counts = [sum(parameter.numel() for parameter in net.parameters()) for net in (g, d)]
    assert counts == [3_576_704, 2_765_568]


def test_labels_condition_every_recipe():
    labels = torch.arange(8) % 3
    labelled = ArrayDataset(torch.zeros(8, 2), labels, name="points")
    for name, config, data in (
        ("vanilla", recipes.preset("vanilla", "vanilla-ring8"), labelled),
        ("stylegan2", small("stylegan2-lite"), images(labels=labels)),
    ):
        recipe = recipes.get(name).build(config, data)
        assert isinstance(recipe.conditioning, LabelConditioning)
        assert recipe.generator_spec.arguments["c_dim"] == 3


@pytest.mark.parametrize(
    ("name", "preset", "data", "message"),
    [
        ("vanilla", "vanilla-ring8", images(), "vanilla: expected points"),
        ("dcgan", "dcgan-64", points(), "dcgan: expected square images"),
        ("dcgan", "dcgan-64", images(3, 16, 32), r"expected square images \(C, H, H\)"),
        ("stylegan2", "stylegan2-lite", points(), "stylegan2: expected images"),
    ],
)
def test_datasets_that_do_not_fit_are_refused(name, preset, data, message):
    with pytest.raises(ConfigError, match=message):
        recipes.get(name).build(recipes.preset(name, preset), data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"style_mixing": 1.5}, "style_mixing"),
        ({"r1_every": 0}, "r1_every"),
        ({"g_architecture": "unet"}, "g_architecture: expected one of skip, resnet, orig"),
        ({"conv_clamp": 0.0}, "conv_clamp"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(ConfigError, match=message):
        small("stylegan2-lite", **change)
