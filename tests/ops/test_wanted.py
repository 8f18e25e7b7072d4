"""Gradients that a backward pass does not ask for are not computed."""

import pytest
import torch

from fastgan import ops
from fastgan.ops import conv3x3 as module
from fastgan.ops._register import registered
from tests import require

try:
    from fastgan import _C  # noqa: F401
except ImportError:
    require.missing("cpp", "fastgan._C is not built", module=True)


@pytest.fixture
def counted(monkeypatch):
    """Names of the operators that ran, in order."""
    names = []
    for name in ("conv3x3", "conv3x3_weight_grad", "bias_act", "bias_act_grad"):
        call = getattr(registered, name)

        def run(*inputs, _name=name, _call=call):
            names.append(_name)
            return _call(*inputs)

        monkeypatch.setattr(registered, name, run)
    return names


@pytest.fixture
def layer():
    x = torch.randn(2, 16, 16, 16).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(16, 16, 3, 3, requires_grad=True)

    def run():
        return ops.conv2d_resample(x * 1.0, weight * 1.0, padding=1, backend="cpp")

    assert module.serves(x, weight, "cpp")
    return x, weight, run


def test_backward_to_some_leaves_leaves_out_the_others(layer, counted):
    x, weight, run = layer
    run().sum().backward(inputs=[x])
    assert counted == ["conv3x3", "conv3x3"]
    assert weight.grad is None
    counted.clear()
    run().sum().backward(inputs=[weight])
    assert counted == ["conv3x3", "conv3x3_weight_grad"]
    counted.clear()
    run().sum().backward()
    assert counted == ["conv3x3", "conv3x3", "conv3x3_weight_grad"]


def test_grad_leaves_out_what_it_is_not_asked_for(layer, counted):
    x, weight, run = layer
    (grad_x,) = torch.autograd.grad(run().square().sum(), x, create_graph=True)
    assert counted == ["conv3x3", "conv3x3"]
    counted.clear()
    grad_x.square().sum().backward()  # R1: its gradient needs all
    assert counted.count("conv3x3_weight_grad") == 2
    assert x.grad is not None
    assert weight.grad is not None


@pytest.mark.parametrize("leaf", ["x", "weight"])
def test_leaves_that_are_inputs_themselves_are_served(leaf):
    x = torch.randn(2, 16, 16, 16).contiguous(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(16, 16, 3, 3, requires_grad=True)
    asked = {"x": x, "weight": weight}[leaf]

    def run(backend):
        y = ops.conv2d_resample(x, weight, padding=1, backend=backend)
        return torch.autograd.grad(y.square().sum(), asked)[0]

    torch.testing.assert_close(run("cpp"), run("reference"), rtol=1e-4, atol=1e-2)


def test_results_without_a_gradient_run_nothing(counted):
    x, bias = torch.randn(2, 8, 5, 5, requires_grad=True), torch.randn(8, requires_grad=True)
    y = ops.bias_act(x, bias, backend="cpp")  # keeps y, whose sign is the slope
    upstream = torch.ones_like(y, requires_grad=True)
    (grad_x,) = torch.autograd.grad(y, x, upstream, create_graph=True)
    assert counted == ["bias_act", "bias_act_grad"]
    on_upstream, on_x = torch.autograd.grad(grad_x.sum(), [upstream, x], allow_unused=True)
    assert counted == ["bias_act", "bias_act_grad", "bias_act_grad"]  # none for y's zero gradient
    assert on_x is None
    torch.testing.assert_close(on_upstream, torch.where(y > 0, 1, 0.2) * 2**0.5)
