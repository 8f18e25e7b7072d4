"""Half-precision levels: where they run, in which type, and how close they come to float32."""

import pytest
import torch

HALF = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
PAIR = {"num_fp16_res": 1, "conv_clamp": 256.0}
EPSILON = {torch.float16: 2**-10, torch.bfloat16: 2**-7}


def record_types(network, seen):
    for name, module in network.named_modules():
        if name.endswith(("conv0", "conv1", "torgb", "conv")):
            module.register_forward_hook(
                lambda _m, inputs, out, name=name: seen.update({name: (inputs[0], out)})
            )


@HALF
def test_generator_runs_only_its_highest_levels_in_half(generator, dtype):
    network = generator(half_dtype=dtype, half_on_cpu=True, **PAIR)
    seen = {}
    record_types(network.synthesis, seen)
    images = network(torch.randn(2, 8))
    assert images.dtype == torch.float32
    for name, (x, y) in seen.items():
        expected = dtype if name.startswith("b16") else torch.float32
        assert x.dtype == y.dtype == expected, name
    assert seen["b16.conv0"][0].is_contiguous(memory_format=torch.channels_last)


@HALF
def test_discriminator_runs_only_its_highest_levels_in_half(discriminator, dtype):
    network = discriminator(half_dtype=dtype, half_on_cpu=True, **PAIR)
    output = network(torch.randn(2, 3, 16, 16))
    types = {name: map_.dtype for name, map_ in output.features.items()}
    assert types == {"b16": dtype, "b8": torch.float32, "b4": torch.float32}
    assert output.logits.dtype == torch.float32


@HALF
@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_half_stays_close_to_float32(generator, discriminator, architecture, dtype):
    options = {"architecture": architecture, "half_dtype": dtype, "half_on_cpu": True, **PAIR}
    first, second = generator(**options), discriminator(**options)
    z, img = torch.randn(4, 8), torch.randn(4, 3, 16, 16)
    outputs = [
        (first(z, noise_mode="const", force_fp32=full), second(img, force_fp32=full).logits)
        for full in (False, True)
    ]
    for half, full in zip(*outputs, strict=True):
        error = (half - full).abs().max() / full.abs().max()
        assert 0 < error <= 10 * EPSILON[dtype]


def test_half_is_left_out_on_the_cpu_unless_asked(generator, discriminator):
    first, second = generator(**PAIR), discriminator(**PAIR)
    z, img = torch.randn(2, 8), torch.randn(2, 3, 16, 16)
    assert torch.equal(first(z, noise_mode="const"), first(z, noise_mode="const", force_fp32=True))
    output = second(img)
    assert all(map_.dtype == torch.float32 for map_ in output.features.values())


def test_half_does_not_overflow_with_large_weights_and_styles(generator):
    network = generator(half_on_cpu=True, **PAIR)
    with torch.no_grad():
        for name, parameter in network.synthesis.named_parameters():
            if name.endswith(("conv0.weight", "conv1.weight", "affine.weight")):
                parameter.mul_(300.0)
    ws = network.mapping(torch.randn(2, 8))
    half = network.synthesis(ws, noise_mode="none")
    assert half.isfinite().all()


@HALF
def test_parameters_stay_float32_and_get_float32_gradients(generator, discriminator, dtype):
    options = {"half_dtype": dtype, "half_on_cpu": True, **PAIR}
    first, second = generator(**options), discriminator(**options)
    loss = second(first(torch.randn(2, 8))).logits.sum()
    loss.backward()
    for network in (first, second):
        for name, parameter in network.named_parameters():
            assert parameter.dtype == parameter.grad.dtype == torch.float32, name
            assert parameter.grad.isfinite().all(), name


def test_r1_runs_through_half_levels(discriminator):
    network = discriminator(half_on_cpu=True, **PAIR)
    img = torch.randn(4, 3, 16, 16, requires_grad=True)
    (grad,) = torch.autograd.grad(network(img).logits.sum(), img, create_graph=True)
    grad.square().sum().backward()
    assert network.b16.conv0.weight.grad.isfinite().all()
    assert network.b16.conv0.weight.grad.any()
