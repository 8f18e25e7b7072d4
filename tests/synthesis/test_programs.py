"""Programs and packed networks compute what the generator computes, within rounding."""

import pytest
import torch

from fastgan.synthesis.packed import PackedSynthesis
from fastgan.synthesis.programs import StyleProgram, program_of
from fastgan.synthesis.sampling import noise_sizes
from tests.require import missing
from tests.synthesis.generators import STYLES, plain_generator, style_generator

CPU = torch.device("cpu")


def exact_and_spread(net, ws, mode, noise=None):
    """The float64 image and its standard deviation."""
    source = None if noise is None else lambda layer, height, width: noise[layer].double()
    y = net.double().synthesis(ws.double(), mode, source, force_fp32=True).detach()
    net.float()
    return y, y.std()


def inputs_of(net):
    ws = torch.randn(3, net.num_ws, net.w_dim)
    return ws, [torch.randn(3, 1, *size) for size in noise_sizes(net)]


@torch.no_grad()
@pytest.mark.parametrize("name", STYLES)
def test_float32_is_within_1e_4_of_the_spread(name):
    net = style_generator(**STYLES[name])
    ws, noise = inputs_of(net)
    for mode, given in (("const", []), ("none", []), ("random", noise)):
        y = program_of(net, CPU, "fp32", mode)(ws, *given)
        exact, spread = exact_and_spread(net, ws, mode, given or None)
        assert y.dtype == torch.float32
        assert (y - exact).abs().max() <= 1e-4 * spread


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", STYLES)
def test_packed_networks_agree(name, dtype):
    if not hasattr(torch.ops.fastgan_cpp, "modulated_conv2d_scale"):
        missing("cpp", "packed networks need kernels, which the reference has none of")
    net = style_generator(**STYLES[name])
    ws, noise = inputs_of(net)
    packed = PackedSynthesis(net.synthesis, dtype, "cpp")
    for mode, given in (("const", []), ("none", []), ("random", noise)):
        y = StyleProgram(packed, mode, noise_sizes(net))(ws, *given)
        exact, spread = exact_and_spread(net, ws, mode, given or None)
        bound = 1e-4 if dtype == torch.float32 else 2e-2  # of 11 bits, through a dozen layers
        assert (y - exact).abs().max() <= bound * spread
    assert packed.b8["conv1"].weight.dtype == dtype
    assert all(t.is_contiguous(memory_format=torch.channels_last)
               for t in packed.state_dict().values() if t.ndim == 4 and t.shape[0] > 1)  # fmt: skip


def test_packing_reads_nothing_of_the_device_later():
    """A captured graph cannot look into filters: the taps are found before."""
    net = style_generator(architecture="resnet")
    with torch.no_grad():
        packed = PackedSynthesis(net.synthesis, torch.float32, "cpp")
    taps = [t for name, t in packed.state_dict().items() if name.endswith("taps")]
    assert len(taps) > 5
    assert all(t.ndim == 1 for t in taps)


@torch.no_grad()
def test_half_weights_off_the_gpu_are_rounded():
    for net in (style_generator(), plain_generator()):
        exact, rounded = (program_of(net, CPU, p, "const").state_dict() for p in ("fp32", "fp16"))
        for name, value in exact.items():
            convolution = value.ndim == 4 and "noise" not in name
            wanted = value.half().float() if convolution else value
            assert torch.equal(rounded[name], wanted)
        assert any(not torch.equal(rounded[name], value) for name, value in exact.items())


def test_random_noise_must_be_given():
    net = style_generator()
    program = program_of(net, CPU, "fp32", "random")
    assert [tuple(x.shape) for x in program.examples(2)] == [
        (2, 6, 12), (2, 1, 4, 4), (2, 1, 8, 8), (2, 1, 8, 8), (2, 1, 16, 16), (2, 1, 16, 16)
    ]  # fmt: skip
    with pytest.raises(ValueError, match="needs the noise"):
        program(torch.randn(1, 6, 12))
    silent = program_of(style_generator(use_noise=False), CPU, "fp32", "random")
    assert silent(torch.randn(1, 6, 12)).shape == (1, 3, 16, 16)


def test_programs_own_their_weights():
    net = style_generator()
    own = {t.data_ptr() for t in program_of(net, CPU, "fp32", "const").state_dict().values()}
    assert not own & {t.data_ptr() for t in net.state_dict().values()}
    trained = program_of(net.train(), CPU, "fp32", "const")
    assert not any(part.training for part in trained.network.modules())
