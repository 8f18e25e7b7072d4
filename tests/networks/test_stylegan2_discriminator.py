"""What the StyleGAN2 discriminator does: outputs, features, conditions, freezing, errors."""

import copy

import pytest
import torch

from fastgan.errors import ConfigError
from fastgan.networks import Discriminator, DiscriminatorOutput

ARCHITECTURES = ("resnet", "skip", "orig")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("size", [8, 32, (8, 16), (24, 16), (28, 20)])
def test_every_size_gives_one_logit_per_image(discriminator, architecture, size):
    network = discriminator(size, architecture=architecture)
    output = network(torch.randn(4, 3, *network.img_resolution))
    assert isinstance(output, DiscriminatorOutput)
    assert output.logits.shape == (4, 1)
    assert output.logits.isfinite().all()
    assert isinstance(network, Discriminator)


def test_features_are_the_outputs_of_the_blocks(discriminator):
    network = discriminator()
    features = network(torch.randn(4, 3, 16, 16)).features
    assert {name: tuple(map_.shape) for name, map_ in features.items()} == {
        "b16": (4, 16, 8, 8),
        "b8": (4, 16, 4, 4),
        "b4": (4, 16),
    }
    assert all(map_.requires_grad for map_ in features.values())


def test_logit_depends_on_batch_mates_only_through_the_deviation(discriminator):
    img = torch.randn(4, 3, 16, 16)
    changed = torch.cat([img[:1], torch.randn(3, 3, 16, 16)])
    without, with_ = discriminator(mbstd_num_channels=0), discriminator()
    torch.testing.assert_close(without(img).logits[0], without(changed).logits[0])
    assert not torch.allclose(with_(img).logits[0], with_(changed).logits[0], rtol=1e-5, atol=0)


@pytest.mark.parametrize("batch", [1, 5, 6, 7])
def test_any_batch_size_works(discriminator, batch):
    logits = discriminator()(torch.randn(batch, 3, 16, 16)).logits
    assert logits.shape == (batch, 1)
    assert logits.isfinite().all()


def test_condition_projects_the_logit(discriminator):
    network, img = discriminator(c_dim=5, mbstd_num_channels=0), torch.randn(2, 3, 16, 16)
    first, second = torch.eye(5)[[0, 0]], torch.eye(5)[[0, 1]]
    a, b = network(img, first).logits, network(img, second).logits
    torch.testing.assert_close(a[0], b[0])
    assert not torch.allclose(a[1], b[1])


def test_width_of_the_condition_is_free(discriminator):
    network = discriminator(c_dim=5, cmap_dim=7)
    assert network.b4.out.weight.shape == (7, 16)
    assert network(torch.randn(2, 3, 16, 16), torch.eye(5)[:2]).logits.shape == (2, 1)


def test_frozen_layers_are_buffers_with_the_same_names(discriminator):
    free, frozen = discriminator(), discriminator(freeze_layers=4)
    assert set(free.state_dict()) == set(frozen.state_dict())
    lost = {n for n, _ in free.named_parameters()} - {n for n, _ in frozen.named_parameters()}
    assert lost == {
        "b16.fromrgb.weight",
        "b16.fromrgb.bias",
        "b16.conv0.weight",
        "b16.conv0.bias",
        "b16.conv1.weight",
        "b16.conv1.bias",
        "b16.skip.weight",
    }
    frozen.load_state_dict(free.state_dict(), strict=True)
    img = torch.randn(2, 3, 16, 16)
    assert torch.equal(free(img).logits, frozen(img).logits)


def test_copy_and_state_dict_keep_the_logits(discriminator):
    network, other = discriminator(c_dim=5), discriminator(c_dim=5)
    img, c = torch.randn(2, 3, 16, 16), torch.eye(5)[:2]
    expected = network(img, c).logits
    assert torch.equal(copy.deepcopy(network)(img, c).logits, expected)
    other.load_state_dict(network.state_dict(), strict=True)
    assert torch.equal(other(img, c).logits, expected)


@pytest.mark.parametrize(
    ("img", "c", "error", "message"),
    [
        (torch.zeros(2, 3, 8, 8), torch.zeros(2, 5), ValueError, r"\[N, 3, 16, 16\], got"),
        (torch.zeros(2, 1, 16, 16), torch.zeros(2, 5), ValueError, r"\[N, 3, 16, 16\], got"),
        (torch.zeros(3, 16, 16), torch.zeros(2, 5), ValueError, r"\[N, 3, 16, 16\], got"),
        (torch.zeros(2, 3, 16, 16, dtype=torch.uint8), None, TypeError, "x / 127.5 - 1"),
        (torch.zeros(2, 3, 16, 16), None, ValueError, r"conditional, pass c \[N, 5\]"),
        (torch.zeros(2, 3, 16, 16), torch.zeros(2, 6), ValueError, r"c must be \[2, 5\]"),
    ],
)
def test_wrong_inputs_are_refused(discriminator, img, c, error, message):
    with pytest.raises(error, match=message):
        discriminator(c_dim=5)(img, c)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 20}, None),
        ({"resolution": 34}, "nearest sizes are 32 x 32 or 36 x 36"),
        ({"architecture": "plain"}, "architecture must be one of"),
        ({"freeze_layers": 8}, r"freeze_layers must be in 0\.\.7"),
        ({"freeze_layers": -1}, r"freeze_layers must be in 0\.\.7"),
        ({"mbstd_group_size": 0}, "mbstd_group_size"),
        ({"mbstd_num_channels": 3}, "must divide the 16 channels"),
    ],
)
def test_wrong_settings_are_refused(discriminator, options, message):
    if message is None:  # a base of five is fine: the check must not ask for powers of two
        discriminator(**options)
        return
    with pytest.raises(ConfigError, match=message):
        discriminator(**options)
