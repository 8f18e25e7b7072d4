"""The engine's mapping network against the module it was made from."""

import pytest
import torch

from fastgan.networks.mapping import MappingNetwork
from fastgan.synthesis.tuning import engine_module
from tests.require import missing

if engine_module() is None:
    missing("cpp", "fastgan._engine is not built", module=True)

from fastgan.synthesis.cpu_mapping import CpuMapping


def make_pair(z_dim, c_dim, w_dim, layers=8, isa=""):
    """A module with lively weights, and its twin in an engine that renders nothing."""
    mapping = MappingNetwork(z_dim, c_dim, w_dim, 3, num_layers=layers)
    with torch.no_grad():
        for parameter in mapping.parameters():
            if parameter.ndim == 1:
                parameter.copy_(torch.randn_like(parameter) * 20)
        mapping.w_avg.normal_()
    network = engine_module().Network(
        w_dim, 3, 3, torch.zeros(1, 4, 4).numpy(), slope=0.2, gain=1.0, clamp=-1.0,
        filter_ratio=3.0, isa=isa,
    )  # fmt: skip
    return mapping, CpuMapping(network, mapping)


def draw(count, z_dim, c_dim):
    return torch.randn(count, z_dim) * 3, torch.randn(count, c_dim) if c_dim else None


@pytest.mark.parametrize("count", [1, 2, 8, 9, 21])
@pytest.mark.parametrize(
    ("z_dim", "c_dim", "w_dim", "layers"),
    [(64, 0, 64, 8), (13, 0, 37, 2), (13, 5, 37, 3), (0, 7, 16, 1), (512, 10, 512, 2)],
)
def test_is_the_mapping_network(count, z_dim, c_dim, w_dim, layers):
    mapping, engine = make_pair(z_dim, c_dim, w_dim, layers)
    z, c = draw(count, z_dim, c_dim)
    exact = mapping.double()(z.double(), None if c is None else c.double())
    found = engine(z, c)
    assert found.shape == exact.shape
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 2e-6 * exact.abs().max()


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_threads_change_no_bit(threads):
    _, engine = make_pair(40, 6, 24, 3)
    z, c = draw(11, 40, 6)
    before = torch.get_num_threads()
    expected = engine(z, c)
    torch.set_num_threads(threads)
    try:
        assert torch.equal(engine(z, c), expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("isa", ["default", "avx2", "avx512"])
def test_every_instruction_set(isa):
    try:
        mapping, engine = make_pair(33, 0, 20, 4, isa)
    except ValueError as error:
        pytest.skip(str(error))
    z, _ = draw(3, 33, 0)
    exact = mapping.double()(z.double())
    assert (engine(z, None) - exact).abs().max() < 2e-6 * exact.abs().max()


def test_an_image_does_not_depend_on_its_batch():
    _, engine = make_pair(24, 0, 24)
    z, _ = draw(10, 24, 0)
    together = engine(z, None)
    for i in range(10):
        assert torch.equal(engine(z[i : i + 1], None)[0], together[i])


@pytest.mark.parametrize("psi", [0.0, 0.5, -1.0])
def test_truncation(psi):
    mapping, engine = make_pair(24, 0, 24)
    z, _ = draw(4, 24, 0)
    expected = mapping(z, truncation_psi=psi)
    torch.testing.assert_close(engine(z, None, psi), expected, rtol=1e-5, atol=1e-5)


def test_keeps_its_own_weights():
    mapping, engine = make_pair(24, 0, 24)
    z, _ = draw(2, 24, 0)
    expected = engine(z, None, 0.7)
    with torch.no_grad():
        for tensor in (*mapping.parameters(), mapping.w_avg):
            tensor.zero_()
    assert torch.equal(engine(z, None, 0.7), expected)


def test_wrong_shapes_are_named():
    network = engine_module().Network(
        8, 3, 3, torch.zeros(1, 4, 4).numpy(), slope=0.2, gain=1.0, clamp=-1.0, filter_ratio=3.0
    )
    with pytest.raises(ValueError, match="no mapping"):
        network.map(torch.zeros(1, 8).numpy(), torch.zeros(1, 0).numpy(), 1)
    weight, bias = torch.zeros(8, 8).numpy(), torch.zeros(8).numpy()
    with pytest.raises(ValueError, match=r"weight: expected \[8, 5\], got \[8, 8\]"):
        network.set_mapping(5, 0, [weight], [bias], slope=0.2)
    with pytest.raises(ValueError, match="no mapping"):  # half a one is none
        network.map(torch.zeros(1, 5).numpy(), torch.zeros(1, 0).numpy(), 1)
    network.set_mapping(8, 0, [weight], [bias], slope=0.2)
    with pytest.raises(ValueError, match=r"z: expected \[2, 8\], got \[2, 7\]"):
        network.map(torch.zeros(2, 7).numpy(), torch.zeros(2, 0).numpy(), 1)
