import pytest
import torch
from torch import nn

from fastgan.training.optimizers import adam, lazy_correction


def test_lazy_correction_is_k_over_k_plus_one():
    assert lazy_correction([]) == 1.0
    assert lazy_correction([16]) == pytest.approx(16 / 17)
    assert lazy_correction([4]) == pytest.approx(4 / 5)
    assert lazy_correction([4, 4]) == pytest.approx(4 / 6)  # two lazy updates per four main ones


def test_adam_scales_rate_and_memory():
    optimizer = adam(0.002, (0.5, 0.99))([nn.Parameter(torch.zeros(3))], 16 / 17)
    group = optimizer.param_groups[0]
    assert group["lr"] == pytest.approx(0.002 * 16 / 17, rel=1e-12)
    assert group["betas"] == pytest.approx((0.5 ** (16 / 17), 0.99 ** (16 / 17)), rel=1e-12)
    assert group["eps"] == 1e-8


@pytest.mark.parametrize("betas", [(0.0, 0.99), (0.5, 0.999)])
def test_adam_follows_its_equations(betas):
    parameter = nn.Parameter(torch.randn(5, dtype=torch.float64))
    optimizer = adam(0.01, betas)([parameter], 0.8)
    value, m, v = parameter.detach().clone(), torch.zeros(5), torch.zeros(5)
    lr, b1, b2 = 0.008, betas[0] ** 0.8, betas[1] ** 0.8
    for t in range(1, 5):
        parameter.grad = torch.randn(5, dtype=torch.float64)
        m = b1 * m + (1 - b1) * parameter.grad
        v = b2 * v + (1 - b2) * parameter.grad.square()
        value -= lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + 1e-8)
        optimizer.step()
        assert torch.allclose(parameter.detach(), value, rtol=1e-10)
