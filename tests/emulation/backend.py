"""The `cuda` backend on CPU tensors: its operators, with the emulator in place of a GPU.

What csrc/cuda_ops does in C++ (layouts, workspaces, empty tensors) is done here in Python; the
kernels and their launchers are those that ship.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fastgan import reference
from fastgan.reference.bias_act import ACTIVATIONS
from tests.emulation import emulated, modulated, test_modulated_conv2d_scale, test_spectral_norm
from tests.emulation import test_upfirdn2d as resampling


def _options(act: str, alpha: float, gain: float, clamp: float, **more: Any) -> dict[str, Any]:
    assert alpha == ACTIVATIONS[act].default_alpha, "the emulator's tests have the usual slope"
    return {"act": act, "gain": gain, "clamp": None if clamp < 0 else clamp, **more}


def _like(tensor: Tensor, x: Tensor) -> Tensor:
    return torch.empty_like(x).copy_(tensor)


def _dense(x: Tensor) -> Tensor:
    return torch.empty_like(x).copy_(x)


def _image(x: Tensor) -> Tensor:
    last = x.is_contiguous(memory_format=torch.channels_last)
    return x if last or x.is_contiguous() else x.contiguous()


def bias_act(x, bias, dim, act, alpha, gain, clamp):
    x = _dense(x)
    if x.numel() == 0:
        return x
    options = emulated.Options(**_options(act, alpha, gain, clamp, dim=dim))
    return emulated.run(emulated.FORWARD, x, bias=bias, options=options)[0]


def bias_act_grad(grad_y, ref, bias, dim, act, alpha, gain, clamp, from_output, with_bias):
    ref = _dense(ref)
    sums = ref.new_zeros(ref.shape[dim] if with_bias else 0)
    if ref.numel() == 0:
        return torch.empty_like(ref), sums
    more = {"dim": dim, "from_output": from_output}
    options = emulated.Options(**_options(act, alpha, gain, clamp, **more))
    bias = None if from_output else bias
    grad_x, found = emulated.run(
        emulated.GRAD, ref, g=_like(grad_y, ref), bias=bias, with_sum=with_bias, options=options
    )
    return grad_x, sums if found is None else found


def bias_act_grad2(grad_grad_x, grad_y, x, bias, dim, act, alpha, gain, clamp):
    x = _dense(x)
    if x.numel() == 0:
        return x
    options = emulated.Options(**_options(act, alpha, gain, clamp, dim=dim))
    g, h = _like(grad_y, x), _like(grad_grad_x, x)
    return emulated.run(emulated.GRAD2, x, g=g, h=h, bias=bias, options=options)[0]


def upfirdn2d(x, filter, up, down, padding, flip_filter, gain):
    settings = {"up": tuple(up), "down": tuple(down), "padding": tuple(padding)}
    settings |= {"flip_filter": flip_filter, "gain": gain}
    x = _image(x)
    if x.numel() == 0:  # nothing is launched; the specification knows the size
        filter = filter.flip([*range(filter.ndim)]) if flip_filter else filter
        del settings["flip_filter"]
        return reference.upfirdn2d(x, filter, **settings)
    return resampling.run(x, filter, **settings)


def modulated_conv2d_scale(x, scale, noise):
    x = _image(x)
    if x.numel() == 0:
        return torch.empty_like(x)
    return test_modulated_conv2d_scale.scaled(x, scale.contiguous(), noise)


def modulated_conv2d_scale_grad(grad_y, x, scale, with_noise):
    x = _image(x)
    plane = (x.shape[0], 1, *x.shape[2:]) if with_noise else (0,)
    if x.numel() == 0:
        return torch.empty_like(x), torch.zeros_like(scale), scale.new_zeros(plane)
    grad_x, grad_scale, grad_noise = test_modulated_conv2d_scale.gradients(
        _like(grad_y, x), x, scale.contiguous(), with_noise
    )
    return grad_x, grad_scale, scale.new_zeros(plane) if grad_noise is None else grad_noise


def modulated_conv2d_fused(
    x, weight, in_scale, out_scale, noise, bias, taps, up, padding, act, alpha, gain, clamp,
    allow_tf32,
):  # fmt: skip
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    tensors = {"x": x, "weight": weight, "in_scale": in_scale, "out_scale": out_scale}
    tensors |= {"noise": None if noise is None else noise[:, 0], "bias": bias, "filter": taps}
    given = {name: t.contiguous() for name, t in tensors.items() if t is not None}
    settings = _options(
        act, alpha if act == "lrelu" else ACTIVATIONS[act].default_alpha, gain, clamp
    )
    options = modulated.Options(
        tuple(padding), up, **settings, x_last=last, y_last=last, tf32=allow_tf32
    )
    y = modulated.run(given, options)
    return y.contiguous(memory_format=torch.channels_last) if last else y.contiguous()


def spectral_norm(weight, u, n_power_iterations, eps, dim):
    weight = weight.contiguous()
    assert eps == test_spectral_norm.EPS
    results, _ = test_spectral_norm.forward(
        [weight], [u.contiguous()], [dim], n_power_iterations, grouped=False
    )
    normalized, u_new, v, sigma = (t.clone() for t in results[0])
    return normalized.view(weight.shape), sigma.view(()), u_new, v


def spectral_norm_grad(grad_normalized, grad_sigma, weight, sigma, u, v, dim):
    tensors = (grad_normalized, grad_sigma, weight, sigma, u, v)
    inputs = [[t.contiguous()] for t in tensors]
    results, _ = test_spectral_norm.gradient(*inputs, [dim], grouped=False)
    return results[0].clone().view(weight.shape)


LAUNCHERS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        bias_act, bias_act_grad, bias_act_grad2, upfirdn2d, modulated_conv2d_scale,
        modulated_conv2d_scale_grad, modulated_conv2d_fused, spectral_norm, spectral_norm_grad,
    )
}  # fmt: skip
