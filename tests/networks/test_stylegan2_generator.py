"""What the StyleGAN2 generator does: sizes, noise, truncation, mixing, conditions, errors."""

import copy
import io

import pytest
import torch

from fastgan.errors import ConfigError
from fastgan.networks import Generator, StyleGAN2Generator, mix_styles

ARCHITECTURES = ("skip", "resnet", "orig")


def latents(count=3):
    return torch.randn(count, 8)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("size", [8, 32, (8, 16), (24, 16), (28, 20)])
def test_images_have_the_asked_size(generator, architecture, size):
    network = generator(size, architecture=architecture)
    height, width = (size, size) if isinstance(size, int) else size
    images = network(latents())
    assert images.shape == (3, 3, height, width)
    assert network.img_resolution == (height, width)
    assert images.dtype == torch.float32
    assert images.is_contiguous()
    assert images.isfinite().all()


def test_attributes_describe_the_network(generator):
    network = generator(c_dim=5)
    assert (network.z_dim, network.c_dim, network.w_dim, network.img_channels) == (8, 5, 12, 3)
    assert network.num_ws == 6  # five convolutions and the last torgb
    assert isinstance(network, Generator)


def test_new_network_starts_near_the_nominal_range():
    network = StyleGAN2Generator(64, 0, 64, 32, 3, channel_base=1024, channel_max=32)
    images = network(torch.randn(16, 64))
    assert 0.2 < images.square().mean().sqrt() < 5


def test_a_batch_of_one_equals_its_place_in_a_larger_batch(generator):
    network, z = generator().double(), latents().double()
    whole = network(z, noise_mode="const")
    torch.testing.assert_close(network(z[1:2], noise_mode="const"), whole[1:2])


@pytest.mark.parametrize("mode", ["const", "none"])
def test_noise_that_is_not_random_repeats(generator, mode):
    network, z = generator(), latents()
    assert torch.equal(network(z, noise_mode=mode), network(z, noise_mode=mode))


def test_random_noise_follows_the_global_generator(generator):
    network, z = generator(), latents()
    torch.manual_seed(5)
    first, second = network(z), network(z)
    torch.manual_seed(5)
    assert torch.equal(network(z), first)
    assert not torch.equal(first, second)


def test_noise_modes_differ_and_vanish_with_zero_strength(generator):
    network, z = generator(), latents()
    images = [network(z, noise_mode=mode) for mode in ("random", "const", "none")]
    assert not torch.equal(images[0], images[1])
    assert not torch.equal(images[1], images[2])
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("noise_strength"):
                parameter.zero_()
    images = [network(z, noise_mode=mode) for mode in ("random", "const", "none")]
    assert torch.equal(images[0], images[2])
    assert torch.equal(images[1], images[2])


def test_noise_source_supplies_every_layer_in_order(generator):
    network, z = generator(), latents()
    asked = []

    def source(index, height, width):
        asked.append((index, height, width))
        draws = torch.Generator().manual_seed(index)
        return torch.randn(3, 1, height, width, generator=draws)

    images = network(z, noise=source)
    assert asked == [(0, 4, 4), (1, 8, 8), (2, 8, 8), (3, 16, 16), (4, 16, 16)]
    assert torch.equal(network(z, noise=source), images)
    # Order-free: a slice of the draws with a slice of the batch gives a slice of the images.
    part = network(z[1:], noise=lambda *place: source(*place)[1:])
    torch.testing.assert_close(part, images[1:], rtol=1e-4, atol=1e-5)


def test_noise_source_of_the_stored_noise_equals_const(generator):
    network, z = generator(), latents()
    constants = [t for name, t in network.named_buffers() if name.endswith("noise_const")]
    images = network(z, noise=lambda index, *size: constants[index].expand(3, 1, *size))
    torch.testing.assert_close(images, network(z, noise_mode="const"))


def test_truncation_zero_gives_the_image_of_the_mean(generator):
    network = generator()
    images = network(latents(), truncation_psi=0.0, noise_mode="const")
    mean = network.mapping.w_avg.expand(1, network.num_ws, -1)
    expected = network.synthesis(mean, noise_mode="const").expand(3, -1, -1, -1)
    torch.testing.assert_close(images, expected)


def test_truncation_moves_the_first_styles_towards_the_mean(generator):
    network, z = generator(), latents()
    full, mean = network.mapping(z), network.mapping.w_avg
    ws = network.mapping(z, truncation_psi=0.25, truncation_cutoff=2)
    torch.testing.assert_close(ws[:, :2], mean + 0.25 * (full[:, :2] - mean))
    assert torch.equal(ws[:, 2:], full[:, 2:])
    every = network.mapping(z, truncation_psi=0.25)
    torch.testing.assert_close(every, mean + 0.25 * (full - mean))
    assert torch.equal(network.mapping(z, truncation_psi=1.0), full)


def test_average_follows_the_batch_mean_only_when_asked(generator):
    mapping, z = generator().mapping, latents()
    before = mapping.w_avg.clone()
    w = mapping(z)[:, 0]
    assert torch.equal(mapping.w_avg, before)
    mapping(z, update_w_avg=True)
    expected = 0.995 * before + 0.005 * w.mean(dim=0)
    torch.testing.assert_close(mapping.w_avg, expected)
    mapping.w_avg.copy_(before)
    mapping.update_average(w.mean(dim=0))
    torch.testing.assert_close(mapping.w_avg, expected)


def test_mixing_takes_each_sample_apart_at_its_own_cut(generator):
    network = generator()
    ws_a, ws_b = network.mapping(latents()), network.mapping(latents())
    mixed = mix_styles(ws_a, ws_b, torch.tensor([0, 2, 6]))
    assert torch.equal(mixed[0], ws_b[0])
    assert torch.equal(mixed[1], torch.cat([ws_a[1, :2], ws_b[1, 2:]]))
    assert torch.equal(mixed[2], ws_a[2])


def test_mixing_changes_only_the_layers_behind_the_cut(generator):
    network = generator()
    seen = []
    for name, module in network.synthesis.named_modules():
        if name.endswith(("conv0", "conv1")):
            module.register_forward_hook(lambda _m, _in, out, name=name: seen.append((name, out)))
    ws_a, ws_b = network.mapping(latents()), network.mapping(latents())
    for ws in (ws_a, mix_styles(ws_a, ws_b, torch.full((3,), 3))):
        network.synthesis(ws, noise_mode="const")
    same = [torch.equal(a, b) for (_, a), (_, b) in zip(seen[:5], seen[5:], strict=True)]
    assert [name for name, _ in seen[:5]] == [
        "b4.conv1",
        "b8.conv0",
        "b8.conv1",
        "b16.conv0",
        "b16.conv1",
    ]
    assert same == [True, True, True, False, False]


def test_condition_changes_the_image(generator):
    network, z = generator(c_dim=5), latents(1)
    images = [network(z, torch.eye(5)[i : i + 1], noise_mode="none") for i in (0, 1)]
    assert not torch.allclose(*images)


def test_state_dict_survives_a_file_strictly(generator):
    network, other, z = generator(c_dim=5), generator(c_dim=5), latents()
    c = torch.eye(5)[:3]
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    buffer.seek(0)
    assert not torch.equal(network(z, c, noise_mode="const"), other(z, c, noise_mode="const"))
    other.load_state_dict(torch.load(buffer, weights_only=True), strict=True)
    assert torch.equal(network(z, c, noise_mode="const"), other(z, c, noise_mode="const"))


def test_copy_is_equal_and_independent(generator):
    network, z = generator(), latents()
    twin = copy.deepcopy(network)
    before = network(z, noise_mode="const")
    assert torch.equal(twin(z, noise_mode="const"), before)
    with torch.no_grad():
        twin.synthesis.b4.const.add_(1)
    assert torch.equal(network(z, noise_mode="const"), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"z": torch.zeros(3, 7)}, r"z must be \[N, 8\], got \(3, 7\)"),
        ({"z": torch.zeros(8)}, r"z must be \[N, 8\]"),
        ({}, r"conditional, pass c \[N, 5\]"),
        ({"c": torch.zeros(3, 4)}, r"c must be \[3, 5\].*got \(3, 4\)"),
        ({"c": torch.zeros(2, 5)}, r"c must be \[3, 5\]"),
        ({"c": torch.zeros(3, 5), "noise_mode": "some"}, "noise_mode must be one of"),
        (
            {"c": torch.zeros(3, 5), "noise": lambda *_: torch.zeros(1)},
            r"noise\(layer 0\) must return \(3, 1, 4, 4\)",
        ),
        (
            {"c": torch.zeros(3, 5), "noise_mode": "const", "noise": lambda *_: torch.zeros(1)},
            "noise needs noise_mode 'random'",
        ),
    ],
)
def test_wrong_inputs_are_refused(generator, arguments, message):
    network = generator(c_dim=5)
    with pytest.raises(ValueError, match=message):
        network(**{"z": torch.zeros(3, 8), **arguments})


def test_unconditional_network_refuses_a_condition_but_takes_an_empty_one(generator):
    network = generator()
    with pytest.raises(ValueError, match="unconditional"):
        network(latents(), torch.zeros(3, 5))
    network(latents(), torch.zeros(3, 0))


@pytest.mark.parametrize("shape", [(3, 6), (3, 5, 12), (3, 6, 11)])
def test_wrong_styles_are_refused(generator, shape):
    with pytest.raises(ValueError, match=r"ws must be \[N, 6, 12\]"):
        generator().synthesis(torch.zeros(shape))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 50}, "nearest sizes are 48 x 48 or 52 x 52"),
        ({"resolution": 4}, "img_resolution must be an int >= 8"),
        ({"resolution": (64, 100)}, "nearest sizes are 64 x 96 or 64 x 104"),
        ({"resolution": 32.0}, "img_resolution must be an int >= 8"),
        ({"architecture": "plain"}, "architecture must be one of"),
        ({"num_fp16_res": -1}, "num_fp16_res must be >= 0"),
        ({"half_dtype": torch.float32}, "half_dtype must be"),
        ({"channel_base": 8}, "leave no channels at resolution 16"),
        ({"mapping_layers": 0}, "mapping_layers >= 1"),
    ],
)
def test_wrong_settings_are_refused(generator, options, message):
    with pytest.raises(ConfigError, match=message):
        generator(**options)
