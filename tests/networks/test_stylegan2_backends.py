"""The StyleGAN2 pair gives the same numbers on every backend, gradients of both orders included."""

import pytest
import torch

from fastgan import use_backend
from tests.networks.test_stylegan2_gradients import path_penalty, r1_penalty

BOUND = {torch.float64: 1e-9, torch.float32: 1e-3}


def generator_results(network, z, direction):
    penalty = path_penalty(network, z, direction)
    grads = torch.autograd.grad(penalty, list(network.parameters()), materialize_grads=True)
    return [network(z, noise_mode="const"), penalty, *grads]


def discriminator_results(network, img):
    penalty = r1_penalty(network, img)
    loss = penalty + network(img).logits.sum()
    grads = torch.autograd.grad(loss, list(network.parameters()))
    return [network(img).logits, penalty, *grads]


def assert_same_on(backend, dtype, compute):
    with use_backend("reference"):
        expected = compute()
    with use_backend(backend):
        actual = compute()
    for a, e in zip(actual, expected, strict=True):
        assert (a - e).abs().max() <= BOUND[dtype] * e.abs().max().clamp(min=1e-3)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("architecture", ["skip", "resnet"])
def test_generator_agrees_with_the_reference(generator, kernel_backend, architecture, dtype):
    network = generator(architecture=architecture).to(dtype)
    z, direction = torch.randn(2, 8, dtype=dtype), torch.randn(2, 3, 16, 16, dtype=dtype)
    assert_same_on(kernel_backend, dtype, lambda: generator_results(network, z, direction))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("architecture", ["resnet", "skip"])
def test_discriminator_agrees_with_the_reference(
    discriminator, kernel_backend, architecture, dtype
):
    network = discriminator(architecture=architecture).to(dtype)
    img = torch.randn(4, 3, 16, 16, dtype=dtype)
    assert_same_on(kernel_backend, dtype, lambda: discriminator_results(network, img))
