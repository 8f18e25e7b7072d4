"""The StyleGAN2 modules against a second, independent writing of the same equations."""

import pytest
import torch

from tests.networks import stylegan2_oracle as oracle

ARCHITECTURES = ("skip", "resnet", "orig")


def levels_of(height):
    return [4 * 2**i for i in range(height.bit_length() - 2)]


def assert_equal_to_rounding(actual, expected, dtype):
    bound = 1e-10 if dtype == torch.float64 else 1e-4
    assert (actual - expected).abs().max() <= bound * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("clamp", [None, 0.5])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_generator_equals_oracle(generator, architecture, clamp, dtype):
    network = generator(architecture=architecture, conv_clamp=clamp).to(dtype)
    z = torch.randn(3, 8, dtype=dtype)
    state = network.state_dict()
    ws = oracle.mapping(state, z, None)[:, None].repeat(1, network.num_ws, 1)
    expected = oracle.synthesis(state, ws, levels_of(16), clamp)
    assert_equal_to_rounding(network(z, noise_mode="const"), expected, dtype)


def test_generator_uses_each_style_where_the_oracle_does(generator):
    network = generator(architecture="skip").double()
    ws = torch.randn(2, network.num_ws, 12, dtype=torch.float64)
    expected = oracle.synthesis(network.state_dict(), ws, levels_of(16))
    actual = network.synthesis(ws, noise_mode="const")
    assert_equal_to_rounding(actual, expected, torch.float64)


@pytest.mark.parametrize("size", [(8, 12), (16, 24), (24, 16)])
def test_generator_of_any_aspect_equals_oracle(generator, size):
    network = generator(size).double()
    ws = torch.randn(2, network.num_ws, 12, dtype=torch.float64)
    expected = oracle.synthesis(network.state_dict(), ws, levels_of(min(size)))
    assert expected.shape == (2, 3, *size)
    actual = network.synthesis(ws, noise_mode="const")
    assert_equal_to_rounding(actual, expected, torch.float64)


def test_conditional_generator_equals_oracle(generator):
    network = generator(c_dim=5).double()
    z, c = torch.randn(3, 8, dtype=torch.float64), torch.eye(5, dtype=torch.float64)[:3]
    state = network.state_dict()
    ws = oracle.mapping(state, z, c)[:, None].repeat(1, network.num_ws, 1)
    expected = oracle.synthesis(state, ws, levels_of(16), noise=False)
    assert_equal_to_rounding(network(z, c, noise_mode="none"), expected, torch.float64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("clamp", [None, 0.5])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_discriminator_equals_oracle(discriminator, architecture, clamp, dtype):
    network = discriminator(architecture=architecture, conv_clamp=clamp).to(dtype)
    img = torch.randn(6, 3, 16, 16, dtype=dtype)
    expected = oracle.discriminator(network.state_dict(), img, None, levels_of(16), clamp)
    assert_equal_to_rounding(network(img).logits, expected, dtype)


@pytest.mark.parametrize("size", [(16, 16), (16, 24)])
def test_conditional_discriminator_equals_oracle(discriminator, size):
    network = discriminator(size, c_dim=5, mbstd_group_size=3).double()
    img, c = torch.randn(6, 3, *size, dtype=torch.float64), torch.eye(6, 5, dtype=torch.float64)
    expected = oracle.discriminator(network.state_dict(), img, c, levels_of(16), group=3)
    assert_equal_to_rounding(network(img, c).logits, expected, torch.float64)
