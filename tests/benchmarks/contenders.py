"""Contenders as users plug them in: `--contender tests.benchmarks.contenders:NAME`."""

import copy

import torch

from fastgan.synthesis.images import to_uint8

NUMBER = 7


def right(generator, ws):
    """The specification itself."""

    def render():
        with torch.no_grad():
            return to_uint8(generator.synthesis(ws, noise_mode="const")).numpy()

    return render


def dark(generator, ws):
    """Some levels off everywhere."""
    render = right(generator, ws)
    return lambda: render() // 2


def half(generator, ws):
    """Right in bytes, but computed in bfloat16."""
    render = right(generator, ws)

    def image():
        with torch.no_grad():
            return generator.synthesis(ws, noise_mode="const").bfloat16().float().numpy()

    render.image = image
    return render


def planar(generator, ws):
    """[N, C, H, W] in place of [N, H, W, C]."""
    render = right(generator, ws)
    return lambda: render().transpose(0, 3, 1, 2)


def same_networks(generator, discriminator):
    """Train the networks as they are."""
    return generator, discriminator


class Scaled(torch.nn.Module):
    """Right at first sight: the value of D, but 1.5 times its gradient."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def named_parameters(self, *arguments, **settings):
        return self.net.named_parameters(*arguments, **settings)

    def forward(self, x, c=None):
        output = self.net(x, c)
        y = output.logits
        return output._replace(logits=y.detach() + 1.5 * (y - y.detach()))


def steep(generator, discriminator):
    """A discriminator whose gradients are wrong."""
    return copy.deepcopy(generator), Scaled(discriminator)


def nothing(*arguments):
    """No contender."""
    return None


def doubled(case):
    """bias_act, twice as large as it should be; no other op."""
    if case.op != "bias_act":
        return None
    return lambda *inputs: 2 * case.reference(*inputs)
