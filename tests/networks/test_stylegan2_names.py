"""Parameter and buffer names and shapes: the interface through which state dicts load."""

import torch

from fastgan.networks import StyleGAN2Discriminator, StyleGAN2Generator

# Resolution 16, z 8, c 5, w 12, channels 16, 16, 8 at 4, 8, 16, two mapping layers, "skip".
GENERATOR = """
mapping.embed.weight 12 5
mapping.embed.bias 12
mapping.fc0.weight 12 20
mapping.fc0.bias 12
mapping.fc1.weight 12 12
mapping.fc1.bias 12
mapping.w_avg 12
synthesis.b4.const 16 4 4
synthesis.b4.resample_filter 4 4
synthesis.b4.conv1.weight 16 16 3 3
synthesis.b4.conv1.noise_strength
synthesis.b4.conv1.bias 16
synthesis.b4.conv1.resample_filter 4 4
synthesis.b4.conv1.noise_const 4 4
synthesis.b4.conv1.affine.weight 16 12
synthesis.b4.conv1.affine.bias 16
synthesis.b4.torgb.weight 3 16 1 1
synthesis.b4.torgb.bias 3
synthesis.b4.torgb.affine.weight 16 12
synthesis.b4.torgb.affine.bias 16
synthesis.b8.resample_filter 4 4
synthesis.b8.conv0.weight 16 16 3 3
synthesis.b8.conv0.noise_strength
synthesis.b8.conv0.bias 16
synthesis.b8.conv0.resample_filter 4 4
synthesis.b8.conv0.noise_const 8 8
synthesis.b8.conv0.affine.weight 16 12
synthesis.b8.conv0.affine.bias 16
synthesis.b8.conv1.weight 16 16 3 3
synthesis.b8.conv1.noise_strength
synthesis.b8.conv1.bias 16
synthesis.b8.conv1.resample_filter 4 4
synthesis.b8.conv1.noise_const 8 8
synthesis.b8.conv1.affine.weight 16 12
synthesis.b8.conv1.affine.bias 16
synthesis.b8.torgb.weight 3 16 1 1
synthesis.b8.torgb.bias 3
synthesis.b8.torgb.affine.weight 16 12
synthesis.b8.torgb.affine.bias 16
synthesis.b16.resample_filter 4 4
synthesis.b16.conv0.weight 8 16 3 3
synthesis.b16.conv0.noise_strength
synthesis.b16.conv0.bias 8
synthesis.b16.conv0.resample_filter 4 4
synthesis.b16.conv0.noise_const 16 16
synthesis.b16.conv0.affine.weight 16 12
synthesis.b16.conv0.affine.bias 16
synthesis.b16.conv1.weight 8 8 3 3
synthesis.b16.conv1.noise_strength
synthesis.b16.conv1.bias 8
synthesis.b16.conv1.resample_filter 4 4
synthesis.b16.conv1.noise_const 16 16
synthesis.b16.conv1.affine.weight 8 12
synthesis.b16.conv1.affine.bias 8
synthesis.b16.torgb.weight 3 8 1 1
synthesis.b16.torgb.bias 3
synthesis.b16.torgb.affine.weight 8 12
synthesis.b16.torgb.affine.bias 8
"""

GENERATOR_SKIP_LAYERS = """
synthesis.b8.skip.weight 16 16 1 1
synthesis.b8.skip.resample_filter 4 4
synthesis.b16.skip.weight 8 16 1 1
synthesis.b16.skip.resample_filter 4 4
"""

# The same sizes, "resnet".
DISCRIMINATOR = """
b16.resample_filter 4 4
b16.fromrgb.weight 8 3 1 1
b16.fromrgb.bias 8
b16.fromrgb.resample_filter 4 4
b16.conv0.weight 8 8 3 3
b16.conv0.bias 8
b16.conv0.resample_filter 4 4
b16.conv1.weight 16 8 3 3
b16.conv1.bias 16
b16.conv1.resample_filter 4 4
b16.skip.weight 16 8 1 1
b16.skip.resample_filter 4 4
b8.resample_filter 4 4
b8.conv0.weight 16 16 3 3
b8.conv0.bias 16
b8.conv0.resample_filter 4 4
b8.conv1.weight 16 16 3 3
b8.conv1.bias 16
b8.conv1.resample_filter 4 4
b8.skip.weight 16 16 1 1
b8.skip.resample_filter 4 4
b4.conv.weight 16 17 3 3
b4.conv.bias 16
b4.conv.resample_filter 4 4
b4.fc.weight 16 256
b4.fc.bias 16
b4.out.weight 16 16
b4.out.bias 16
mapping.embed.weight 16 5
mapping.embed.bias 16
mapping.fc0.weight 16 16
mapping.fc0.bias 16
mapping.fc1.weight 16 16
mapping.fc1.bias 16
"""

DISCRIMINATOR_FROMRGB_LAYERS = """
b8.fromrgb.weight 16 3 1 1
b8.fromrgb.bias 16
b8.fromrgb.resample_filter 4 4
b4.fromrgb.weight 16 3 1 1
b4.fromrgb.bias 16
b4.fromrgb.resample_filter 4 4
"""


def table(text):
    rows = (line.split() for line in text.strip().splitlines())
    return {name: tuple(map(int, sizes)) for name, *sizes in rows}


def without(names, *parts):
    return {name: shape for name, shape in names.items() if not any(p in name for p in parts)}


def shapes(network):
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def test_skip_generator_has_the_published_names_and_shapes(generator):
    assert shapes(generator(c_dim=5)) == table(GENERATOR)


def test_resnet_generator_has_the_published_names_and_shapes(generator):
    expected = without(table(GENERATOR), "b4.torgb", "b8.torgb") | table(GENERATOR_SKIP_LAYERS)
    assert shapes(generator(c_dim=5, architecture="resnet")) == expected


def test_orig_generator_has_the_published_names_and_shapes(generator):
    expected = without(table(GENERATOR), "b4.torgb", "b8.torgb")
    assert shapes(generator(c_dim=5, architecture="orig")) == expected


def test_unconditional_generator_drops_the_embedding(generator):
    expected = without(table(GENERATOR), "embed") | {"mapping.fc0.weight": (12, 8)}
    assert shapes(generator()) == expected


def test_resnet_discriminator_has_the_published_names_and_shapes(discriminator):
    assert shapes(discriminator(c_dim=5)) == table(DISCRIMINATOR)


def test_skip_discriminator_has_the_published_names_and_shapes(discriminator):
    expected = without(table(DISCRIMINATOR), ".skip.") | table(DISCRIMINATOR_FROMRGB_LAYERS)
    assert shapes(discriminator(c_dim=5, architecture="skip")) == expected


def test_orig_discriminator_has_the_published_names_and_shapes(discriminator):
    expected = without(table(DISCRIMINATOR), ".skip.")
    assert shapes(discriminator(c_dim=5, architecture="orig")) == expected


def test_unconditional_discriminator_has_one_output_and_no_mapping(discriminator):
    expected = without(table(DISCRIMINATOR), "mapping")
    expected |= {"b4.out.weight": (1, 16), "b4.out.bias": (1,)}
    assert shapes(discriminator()) == expected


def test_generator_64_has_the_tensor_count_of_a_published_snapshot():
    network = StyleGAN2Generator(4, 0, 4, 64, 3, channel_base=256, channel_max=4)
    assert len(network.state_dict()) == 106


def test_parameter_counts_of_the_1024_networks():
    with torch.device("meta"):
        generator = StyleGAN2Generator(512, 0, 512, 1024, 3)
        discriminator = StyleGAN2Discriminator(0, 1024, 3)
    # Summed by hand from the tables above, widths 512 x 4, 512, 256, 128, 64, 32 at 4 ... 1024.
    assert sum(p.numel() for p in generator.parameters()) == 30_370_060
    assert sum(p.numel() for p in discriminator.parameters()) == 29_012_513


def test_learned_tensors_are_parameters_and_constants_are_buffers(generator, discriminator):
    constants = ("resample_filter", "noise_const", "w_avg")
    for network in (generator(c_dim=5, architecture="resnet"), discriminator(c_dim=5)):
        buffers = {name for name, _ in network.named_buffers()}
        assert buffers == {name for name in network.state_dict() if name.endswith(constants)}


def test_initial_values_are_the_published_ones():
    options = {"channel_base": 1024, "channel_max": 64}
    generator = StyleGAN2Generator(64, 5, 64, 16, 3, **options)
    discriminator = StyleGAN2Discriminator(5, 16, 3, **options)
    learned = dict(generator.named_parameters()) | dict(discriminator.named_parameters())
    assert not generator.mapping.w_avg.any()
    for name, tensor in (learned | dict(generator.named_buffers())).items():
        if name.endswith("affine.bias"):
            assert torch.equal(tensor, torch.ones_like(tensor)), name
        elif name.endswith(("bias", "noise_strength")):
            assert not tensor.any(), name
        elif name.endswith(("const", "weight")):
            scale = 100 if ".fc" in name and "mapping" in name else 1
            within = 5 / tensor.numel() ** 0.5  # five standard errors and more
            assert abs(tensor.std().item() / scale - 1) < within, name
