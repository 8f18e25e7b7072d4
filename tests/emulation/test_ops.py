"""The four families of ops on the emulated `cuda` backend: values, first and second gradients of
the calls that the self-test of a GPU makes, through the ops and their autograd."""

from importlib import import_module

import pytest
import torch

from fastgan.backends import cuda
from fastgan.dispatch import registry
from fastgan.verify import cases, parity
from fastgan.verify.device import Device
from tests.emulation import backend as emulator

CPU = Device("cpu", "cpu")
SELECT = import_module("fastgan.dispatch.select")  # in the package, the name is the function's
FAMILIES = ("bias_act", "upfirdn2d", "modulated_conv2d", "conv2d_resample", "spectral_norm")
CASES = {f"{c.op} {c.name}": c for c in cases.cases(quick=True) if c.op in FAMILIES}


@pytest.fixture(autouse=True)
def _cuda_is_emulated(monkeypatch):
    monkeypatch.setattr(cuda, "why_unavailable", lambda: None)
    monkeypatch.setattr(cuda, "why_unsupported", lambda call: None)
    monkeypatch.setattr(cuda, "launcher", emulator.LAUNCHERS.__getitem__)
    monkeypatch.setattr(cuda, "has_kernel", emulator.LAUNCHERS.__contains__)
    for module, name in ((registry, "_has_kernel"), (SELECT, "_resolved")):
        monkeypatch.setattr(module, name, {})
    registry.launcher.cache_clear()
    yield
    registry.launcher.cache_clear()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
def test_values_and_gradients_to_second_order(name, dtype):
    outcomes = list(parity.check_case(CASES[name], dtype, CPU, ["cuda"]))
    assert len(outcomes) == 1
    assert outcomes[0].passed, outcomes[0]


def test_every_family_is_there():
    assert {case.op for case in CASES.values()} == {*FAMILIES}


def test_a_wrong_kernel_is_noticed(monkeypatch):
    right = emulator.LAUNCHERS["bias_act_grad"]

    def wrong(*arguments):
        grad_x, grad_bias = right(*arguments)
        return grad_x * 1.01, grad_bias

    monkeypatch.setitem(emulator.LAUNCHERS, "bias_act_grad", wrong)
    case = CASES["bias_act lrelu small contiguous"]
    (outcome,) = parity.check_case(case, torch.float64, CPU, ["cuda"])
    assert not outcome.passed
