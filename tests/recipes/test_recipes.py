"""Presets, what recipes build, and what they refuse."""

from dataclasses import replace

import pytest
import torch

from fastgan import recipes
from fastgan.data import ArrayDataset
from fastgan.errors import ConfigError
from fastgan.networks import DCGANDiscriminator, DCGANGenerator
from fastgan.training import LabelConditioning, PathLength, RelativisticPairing


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


# As published, one row per configuration: fmaps is channel_base / 32768.
TABLE = """
name       kimg    batch mbstd fmaps lr     gamma ema_kimg ramp map_depth
stylegan2  25000   32    4     1     .002   10    10       None 8
config-f   25000   32    4     1     .002   10    10       None 8
paper256   25000   64    8     .5    .0025  1     20       None 8
paper512   25000   64    8     1     .0025  .5    20       None 8
paper1024  25000   32    4     1     .002   2     10       None 8
cifar      100000  64    32    1     .0025  .01   500      .05  2
"""
ROWS = [line.split() for line in TABLE.strip().splitlines()[1:]]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_stylegan2_published_settings(row):
    name, *numbers = row
    config = recipes.preset("stylegan2", name)
    expected = [None if number == "None" else float(number) for number in numbers]
    assert expected == [
        config.total_kimg, config.batch, config.mbstd_group, config.channel_base / 32768,
        config.lr_g, config.r1_gamma, config.ema_kimg, config.ema_ramp, config.mapping_layers,
    ]  # fmt: skip
    check_what_all_share(config)
    is_cifar = name == "cifar"
    assert (config.pl_weight, config.style_mixing) == ((0, 0) if is_cifar else (2.0, 0.9))
    assert config.d_architecture == ("orig" if is_cifar else "resnet")


def check_what_all_share(config):
    assert config.lr_d == config.lr_g
    assert (config.beta1, config.beta2) == (0.0, 0.99)
    assert (config.channel_max, config.z_dim, config.w_dim, config.mapping_lr) == (
        512, 512, 512, 0.01,
    )  # fmt: skip
    assert (config.r1_every, config.pl_every, config.r2_gamma) == (16, 4, 0.0)
    assert (config.num_fp16_res, config.half_dtype, config.conv_clamp) == (4, "float16", 256.0)
    assert (config.g_architecture, config.objective, config.freeze_d) == (
        "skip", "non-saturating", 0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("resolution", "processes", "batch", "group", "fmaps", "lr"),
    [
        (32, 1, 32, 4, 0.5, 0.0025),
        (64, 2, 64, 4, 0.5, 0.0025),
        (128, 8, 64, 4, 0.5, 0.0025),
        (256, 1, 16, 4, 0.5, 0.0025),
        (256, 64, 64, 1, 0.5, 0.0025),
        (512, 1, 8, 4, 1.0, 0.0025),
        (512, 3, 24, 4, 1.0, 0.0025),
        (1024, 1, 4, 4, 1.0, 0.002),
        (1024, 8, 32, 4, 1.0, 0.002),
        (2048, 1, 2, 2, 1.0, 0.002),
        (32, 100, 100, 1, 0.5, 0.0025),
    ],
)
def test_stylegan2_automatic_settings(resolution, processes, batch, group, fmaps, lr):
    """batch = max(min(gpus * min(4096 // res, 32), 64), gpus); mbstd = min(batch // gpus, 4)."""
    config = recipes.preset("stylegan2", "auto", (resolution, resolution), processes)
    assert (config.batch, config.mbstd_group, config.lr_g) == (batch, group, lr)
    assert (config.channel_base, config.mapping_layers) == (fmaps * 32768, 2)
    assert (config.ema_kimg, config.ema_ramp) == (batch * 10 / 32, 0.05)
    assert (config.total_kimg, config.r1_gamma) == (25000, None)  # 0.0002 * res^2 / batch
    assert (config.pl_weight, config.style_mixing, config.d_architecture) == (2.0, 0.9, "resnet")
    check_what_all_share(config)


def test_automatic_settings_by_resolution_alone():
    for resolution in (32, 64, 128, 256, 512, 1024):
        named = recipes.preset("stylegan2", f"stylegan2-{resolution}")
        assert named == recipes.preset("stylegan2", "auto", (resolution, resolution))
    wide = recipes.preset("stylegan2", "stylegan2-auto", (256, 1024))
    assert wide == recipes.preset("stylegan2", "stylegan2-512")  # as many pixels


def test_presets_have_short_names():
    assert recipes.preset("stylegan2", "lite") == recipes.preset("stylegan2", "stylegan2-lite")
    assert recipes.full_name("vanilla", "ring8") == "vanilla-ring8"


def test_the_chosen_gamma_is_said():
    config, data = small("stylegan2-lite"), images(height=32, width=16)
    (remark,) = recipes.remarks("stylegan2", config, data)
    assert remark.startswith("r1_gamma 0.0064 = 0.0002 * 32 * 16 / 16")
    assert recipes.remarks("stylegan2", small("stylegan2-lite", r1_gamma=1.0), data) == []
    assert recipes.remarks("vanilla", recipes.preset("vanilla", "ring8"), points()) == []


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


def test_r3gan_pairs_reals_with_fakes_under_r1_and_r2_in_each_step():
    recipe = recipes.get("stylegan2").build(small("lite-r3gan", batch=4), images())
    assert isinstance(recipe.objective, RelativisticPairing)
    r1, r2 = recipe.regularizers
    assert (r1.name, r2.name) == ("r1", "r2")
    assert r1.gamma == r2.gamma == pytest.approx(0.0002 * 16 * 16 / 4)
    assert not r1.is_lazy
    assert not r2.is_lazy


def test_burn_in_moves_settings_along_half_a_cosine():
    config = small("lite-r3gan", total_kimg=1000.0, burn_in_kimg=200.0, r1_gamma=2.0)
    recipe = recipes.get("stylegan2").build(config, images())
    g, d = recipe.players["g"], recipe.players["d"]
    assert g.ema.rise_kimg == 200.0
    # At 0, 50, 100, 200 and 900 kimg; cos(pi / 4) = 0.70711
    progress = (0.0, 0.05, 0.1, 0.2, 0.9)
    for player in (g, d):
        factors = [player.schedule(p) for p in progress]
        assert factors == pytest.approx([1.0, 0.25 + 0.75 * 0.853553, 0.625, 0.25, 0.25], rel=1e-6)
        assert [player.beta2(p) for p in progress[::2]] == pytest.approx([0.9, 0.945, 0.99])
    for penalty in recipe.regularizers:
        weights = [penalty.gamma_at(p) for p in progress[::2]]
        assert weights == pytest.approx([2.0, 1.1, 0.2])


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
        ({"half_dtype": "float8"}, "half_dtype: expected one of float16, bfloat16"),
        ({"objective": "wgan"}, "objective: expected one of non-saturating, rpgan"),
        ({"freeze_d": -1}, "freeze_d"),
        ({"burn_in_lr": 0.5}, "burn_in_kimg: expected the length"),
        ({"burn_in_kimg": 1.0, "burn_in_beta2": 1.0}, "burn_in_beta2"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(ConfigError, match=message):
        small("stylegan2-lite", **change)
