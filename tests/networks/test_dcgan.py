"""DCGAN: sizes and counts of the published stack, conditions, normalisation, errors."""

import pytest
import torch
from torch import nn

from fastgan.errors import ConfigError
from fastgan.networks import (
    DCGANDiscriminator,
    DCGANGenerator,
    Discriminator,
    DiscriminatorOutput,
    Generator,
)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def published_stack(generator):
    """The well-known 64 x 64 stack as one nn.Sequential, for its names and numbers."""
    if generator:
        layers = [nn.ConvTranspose2d(100, 512, 4, 1, 0, bias=False)]
        for wide, narrow in ((512, 256), (256, 128), (128, 64), (64, 3)):
            layers += [nn.BatchNorm2d(wide), nn.ReLU()]
            layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False)]
        return nn.ModuleDict({"main": nn.Sequential(*layers, nn.Tanh())})
    layers = [nn.Conv2d(3, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for narrow, wide in ((64, 128), (128, 256), (256, 512)):
        layers += [nn.Conv2d(narrow, wide, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(wide), nn.LeakyReLU(0.2)]
    layers += [nn.Conv2d(512, 1, 4, 1, 0, bias=False)]
    return nn.ModuleDict({"main": nn.Sequential(*layers)})


def test_parameter_counts_at_64():
    assert count(DCGANGenerator()) == 3_576_704
    assert count(DCGANDiscriminator()) == 2_765_568


def test_generator_loads_and_equals_the_published_stack():
    theirs, ours = published_stack(generator=True), DCGANGenerator()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    z = torch.randn(3, 100)
    torch.testing.assert_close(ours(z), theirs["main"](z[:, :, None, None]))
    assert list(ours.state_dict())[-1] == "main.12.weight"


def test_discriminator_loads_and_equals_the_published_stack():
    theirs, ours = published_stack(generator=False), DCGANDiscriminator()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    img = torch.randn(3, 3, 64, 64)
    torch.testing.assert_close(ours(img).logits, theirs["main"](img).flatten(1))


@pytest.mark.parametrize("resolution", [16, 32, 128, 256])
def test_other_powers_of_two(resolution):
    generator = DCGANGenerator(8, 0, resolution, 1, channels=2)
    discriminator = DCGANDiscriminator(0, resolution, 1, channels=2)
    images = generator(torch.randn(2, 8))
    output = discriminator(images)
    assert images.shape == (2, 1, resolution, resolution)
    assert images.abs().max() <= 1
    assert isinstance(output, DiscriminatorOutput)
    assert output.logits.shape == (2, 1)
    assert list(output.features) == [
        f"b{resolution // 2**i}" for i in range(1, resolution.bit_length() - 2)
    ]
    assert output.features["b4"].shape[2:] == (4, 4)
    assert isinstance(generator, Generator)
    assert isinstance(discriminator, Discriminator)


def test_initial_distributions():
    torch.manual_seed(0)
    for network in (DCGANGenerator(), DCGANDiscriminator()):
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
                assert abs(module.weight.mean().item()) < 2e-3
            if isinstance(module, nn.BatchNorm2d):
                assert module.weight.mean().item() == pytest.approx(1, abs=0.02)
                assert module.weight.std().item() == pytest.approx(0.02, rel=0.4)
                assert not module.bias.any()


def test_evaluation_uses_running_statistics():
    generator = DCGANGenerator(8, 0, 16, 3, channels=4)
    z = torch.randn(16, 8)
    generator(z)
    generator.eval()
    torch.testing.assert_close(generator(z[:1]), generator(z)[:1])
    before = {name: t.clone() for name, t in generator.named_buffers()}
    generator(z)
    assert all(torch.equal(before[name], t) for name, t in generator.named_buffers())


def test_condition_changes_images_and_logits():
    generator = DCGANGenerator(8, 5, 16, 3, channels=4).eval()
    discriminator = DCGANDiscriminator(5, 16, 3, channels=4).eval()
    z, labels = torch.randn(1, 8), torch.eye(5)
    images = [generator(z, labels[i : i + 1]) for i in (0, 1)]
    assert not torch.equal(*images)
    logits = [discriminator(images[0], labels[i : i + 1]).logits for i in (0, 1)]
    assert not torch.equal(*logits)
    with pytest.raises(ValueError, match=r"conditional, pass c \[N, 5\]"):
        generator(z)
    with pytest.raises(ValueError, match=r"conditional, pass c \[N, 5\]"):
        discriminator(images[0])


def test_spectral_norm_replaces_batch_norm():
    network = DCGANDiscriminator(0, 16, 3, channels=4, spectral_norm=True)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    img = torch.randn(4, 3, 16, 16)
    for _ in range(50):  # power iterations
        logits = network(img).logits
    logits.sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            sigma = torch.linalg.svdvals(module.weight.detach().flatten(1))[0].item()
            assert sigma == pytest.approx(1, rel=2e-2)


def test_gradient_reaches_every_parameter():
    generator = DCGANGenerator(8, 0, 16, 3, channels=4)
    discriminator = DCGANDiscriminator(0, 16, 3, channels=4)
    images = generator(torch.randn(4, 8))
    (discriminator(images).logits * torch.randn(4, 1)).sum().backward()
    for network in (generator, discriminator):
        assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_wrong_inputs_and_settings_are_refused():
    with pytest.raises(ValueError, match=r"z must be \[N, 8\]"):
        DCGANGenerator(8, 0, 16, 3, channels=2)(torch.zeros(1, 9))
    with pytest.raises(ValueError, match=r"\[N, 3, 16, 16\], got \(1, 3, 32, 32\)"):
        DCGANDiscriminator(0, 16, 3, channels=2)(torch.zeros(1, 3, 32, 32))
    for resolution in (8, 48, (64, 64)):
        with pytest.raises(ConfigError, match="power of two >= 16"):
            DCGANGenerator(8, 0, resolution)
    with pytest.raises(ConfigError, match="z_dim"):
        DCGANGenerator(0)
    with pytest.raises(ConfigError, match="channels must be at least 1"):
        DCGANDiscriminator(channels=0)
