import pytest
import torch
from torch import nn

from fastgan.training.ema import EMA, ema_beta
from fastgan.training.recipe import EMASpec


def test_ema_beta_is_a_half_life_in_images():
    assert ema_beta(EMASpec(10.0), 32, 10**6) == pytest.approx(0.997785, abs=1e-6)
    assert ema_beta(EMASpec(10.0), 10_000, 10**6) == pytest.approx(0.5)


def test_ema_ramp_limits_the_half_life():
    spec = EMASpec(10.0, ramp=0.05)
    assert ema_beta(spec, 32, 0) == 0.0
    assert ema_beta(spec, 32, 1000) == pytest.approx(0.5 ** (32 / 50))
    assert ema_beta(spec, 32, 10**6) == ema_beta(EMASpec(10.0), 32, 10**6)


def test_ema_half_life_rises_along_half_a_cosine():
    spec = EMASpec(10.0, rise_kimg=4.0)
    assert ema_beta(spec, 32, 0) == 0.0
    assert ema_beta(spec, 32, 1000) == pytest.approx(0.5 ** (32 / 1464.4661), rel=1e-6)
    assert ema_beta(spec, 32, 2000) == pytest.approx(0.5 ** (32 / 5000))
    for seen in (4000, 10**6):
        assert ema_beta(spec, 32, seen) == pytest.approx(ema_beta(EMASpec(10.0), 32, seen))


def test_ema_averages_parameters_and_copies_buffers():
    net = nn.BatchNorm1d(3)
    ema = EMA({"G": net}, EMASpec(1.0))
    start = net.weight.detach().clone()
    with torch.no_grad():
        net.weight.add_(torch.tensor([1.0, 2.0, 3.0]))
        net.running_mean.fill_(7.0)
        net.num_batches_tracked.fill_(9)
    ema.update(batch=100, images_seen=0)
    average, beta = ema.nets["G"], 0.5 ** (100 / 1000)
    assert torch.allclose(average.weight, beta * start + (1 - beta) * net.weight)
    assert average.running_mean.tolist() == [7.0] * 3
    assert average.num_batches_tracked == 9
    assert not average.training
    assert not average.weight.requires_grad


def test_ema_does_not_share_memory_with_the_network():
    net = nn.Linear(2, 2)
    ema = EMA({"G": net}, EMASpec(1.0, ramp=1.0))
    ema.update(batch=8, images_seen=0)  # a plain copy
    assert torch.equal(ema.nets["G"].weight, net.weight)
    with torch.no_grad():
        net.weight.zero_()
    assert ema.nets["G"].weight.abs().sum() > 0
