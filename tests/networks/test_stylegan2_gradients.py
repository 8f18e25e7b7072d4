"""Gradients of the StyleGAN2 pair: they reach every parameter, to second order, with the right
values."""

import pytest
import torch

ARCHITECTURES = ("skip", "resnet", "orig")


def r1_penalty(network, img, c=None):
    """Squared norm of the gradient of the logits by the image, summed over the batch."""
    img = img.detach().requires_grad_()
    (grad,) = torch.autograd.grad(network(img, c).logits.sum(), img, create_graph=True)
    return grad.square().sum()


def path_penalty(network, z, direction):
    """Squared norm of the gradient of a projected image by the styles, summed over the batch."""
    ws = network.mapping(z)
    img = network.synthesis(ws, noise_mode="const")
    (grad,) = torch.autograd.grad((img * direction).sum(), ws, create_graph=True)
    return grad.square().sum()


def assert_gradient_matches_differences(network, penalty, step=1e-6):
    """The directional derivative along a random direction against a central difference."""
    parameters = list(network.parameters())
    grads = torch.autograd.grad(penalty(), parameters, allow_unused=True)
    pairs = [(p, g, torch.randn_like(p)) for p, g in zip(parameters, grads, strict=True)]
    slope = sum((g * v).sum() for _, g, v in pairs if g is not None).item()
    values = []
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, _, v in pairs:
                parameter.add_(v, alpha=sign * step)
        values.append(penalty().item())
    difference = (values[0] - values[1]) / (2 * step)
    assert abs(slope) > 1e-3
    assert abs(slope - difference) <= 1e-4 * abs(slope)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_r1_gradient_matches_finite_differences(discriminator, architecture):
    network = discriminator(8, c_dim=3, architecture=architecture, channel_max=4).double()
    img = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    c = torch.eye(4, 3, dtype=torch.float64)
    assert_gradient_matches_differences(network, lambda: r1_penalty(network, img, c))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_path_length_gradient_matches_finite_differences(generator, architecture):
    network = generator(8, architecture=architecture, channel_max=4).double()
    z = torch.randn(2, 8, dtype=torch.float64)
    direction = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    assert_gradient_matches_differences(network, lambda: path_penalty(network, z, direction))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_generator_gradient_reaches_every_parameter(generator, architecture):
    network = generator(c_dim=5, architecture=architecture)
    images = network(torch.randn(3, 8), torch.eye(5)[:3])
    (images * torch.randn_like(images)).sum().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_discriminator_gradient_reaches_every_parameter(discriminator, architecture):
    network = discriminator(c_dim=5, architecture=architecture)
    logits = network(torch.randn(4, 3, 16, 16), torch.eye(5)[:4]).logits
    (logits * torch.randn_like(logits)).sum().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("same", [False, True])
def test_r1_is_finite_where_the_deviation_is_zero(discriminator, batch, same):
    network = discriminator()
    img = torch.randn(1, 3, 16, 16).repeat(batch, 1, 1, 1)
    if not same:
        img = img + 0.1 * torch.randn_like(img)
    r1_penalty(network, img).backward()
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    assert grads
    assert all(grad.isfinite().all() for grad in grads)


def test_generator_step_flows_through_the_discriminator(generator, discriminator):
    first, second = generator(), discriminator()
    loss = second(first(torch.randn(4, 8))).logits.sum()
    grads = torch.autograd.grad(loss, list(first.parameters()))
    assert all(grad.isfinite().all() for grad in grads)
    assert any(grad.abs().max() > 0 for grad in grads)
