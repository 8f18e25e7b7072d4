"""Calls whose kernels the compile gate builds: shapes of StyleGAN2 layers and of ragged images."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fastgan.kernels import bias_act, modulated_conv2d, spectral_norm, upfirdn2d
from fastgan.kernels import minibatch_std as _minibatch_std
from fastgan.kernels import noise_bias_act as _noise_bias_act
from fastgan.kernels import normalize_act as _normalize_act
from fastgan.kernels.modulated_conv2d_fused import modulated_conv2d_fused

HALF, BRAIN, FLOAT, DOUBLE = torch.float16, torch.bfloat16, torch.float32, torch.float64


@dataclass(frozen=True)
class Case:
    """A launcher's call; its kernel number `launch` is examined.

    Attributes:
        call: runs the launcher.
        loads, stores: whether 128-bit loads and stores must be there.
        launch: index among the kernels that the call launches.
        products: whether instructions of tensor cores must be there.
    """

    call: Callable[[], Any]
    loads: bool = True
    stores: bool = True
    launch: int = 0
    products: bool = False


def _images(dtype: torch.dtype, *size: int, last: bool = False) -> Tensor:
    layout = torch.channels_last if last else torch.contiguous_format
    shape = size or (8, 64, 128, 128)
    return torch.empty(shape, dtype=dtype, device="meta", memory_format=layout)


def _vector(dtype: torch.dtype, *size: int) -> Tensor:
    return torch.empty(size, dtype=dtype, device="meta")


def _forward(dtype: torch.dtype, act: str, *size: int, last: bool = False) -> Any:
    x = _images(dtype, *size, last=last)
    return bias_act.bias_act(x, _vector(dtype, x.shape[1]), 1, act, 0.2, 1.4, 256.0)


def _grad(dtype: torch.dtype, act: str, from_output: bool, last: bool = False) -> Any:
    x = _images(dtype, last=last)
    return bias_act.bias_act_grad(
        x, x, _vector(dtype, 64), 1, act, 0.2, 1.4, 256.0, from_output, True
    )


def _grad2(dtype: torch.dtype, act: str) -> Any:
    x = _images(dtype)
    return bias_act.bias_act_grad2(x, x, x, _vector(dtype, 64), 1, act, 0.0, 1.0, -1.0)


def _resample(dtype: torch.dtype, up: int, down: int, *taps: int, last: bool = False) -> Any:
    room = taps[0] - 1  # the size is kept, or changes by the factor
    cut = [room // 2 + room % 2, room // 2] * 2
    return upfirdn2d.upfirdn2d(
        _images(dtype, last=last), _vector(FLOAT, *taps), [up, up], [down, down],
        cut, False, 4.0,
    )  # fmt: skip


def _scale(dtype: torch.dtype, last: bool = False) -> Any:
    noise = _vector(FLOAT, 8, 1, 128, 128)
    return modulated_conv2d.modulated_conv2d_scale(
        _images(dtype, last=last), _vector(FLOAT, 8, 64), noise
    )


def _scale_grad(dtype: torch.dtype, last: bool = False) -> Any:
    x = _images(dtype, last=last)
    return modulated_conv2d.modulated_conv2d_scale_grad(x, x, _vector(FLOAT, 8, 64), True)


def _fused(
    dtype: torch.dtype, out: int, size: int, *, up: int = 1, last: bool = True, tf32: bool = False
) -> Any:
    x = _images(dtype, 8, 64, 64, 64, last=last)
    return modulated_conv2d_fused(
        x, _vector(dtype, out, 64, size, size), _vector(FLOAT, 8, 64), _vector(FLOAT, 8, out),
        _vector(FLOAT, 8, 1, 64 * up, 64 * up), _vector(FLOAT, out),
        _vector(FLOAT, 4) if up == 2 else None, up, [size // 2] * 4, "lrelu", 0.2, 1.4, 256.0, tf32,
    )  # fmt: skip


def _spectral(dtype: torch.dtype, dim: int) -> Any:
    weight = _vector(dtype, 512, 512, 3, 3)
    return spectral_norm.spectral_norm(weight, _vector(dtype, 512), 1, 1e-12, dim)


def _spectral_grad(dtype: torch.dtype) -> Any:
    weight, scalar = _vector(dtype, 512, 512, 3, 3), _vector(dtype)
    u, v = _vector(dtype, 512), _vector(dtype, 4608)
    return spectral_norm.spectral_norm_grad(weight, scalar, weight, scalar, u, v, 0)


CASES = {
    "bias_act lrelu float16": Case(lambda: _forward(HALF, "lrelu")),
    "bias_act swish bfloat16 channels_last": Case(lambda: _forward(BRAIN, "swish", last=True)),
    "bias_act softplus float64": Case(lambda: _forward(DOUBLE, "softplus")),
    "bias_act tanh float32 ragged": Case(
        lambda: _forward(FLOAT, "tanh", 3, 5, 17, 33), loads=False, stores=False
    ),
    "bias_act_grad from output float16": Case(lambda: _grad(HALF, "lrelu", True)),
    "bias_act_grad from output float16 channels_last": Case(
        lambda: _grad(HALF, "lrelu", True, last=True)
    ),
    "bias_act_grad2 swish float32": Case(lambda: _grad2(FLOAT, "swish")),
    "sum of partial sums": Case(
        lambda: _grad(HALF, "lrelu", True, last=True), stores=False, launch=1
    ),
    "upfirdn2d up 2 float16": Case(lambda: _resample(HALF, 2, 1, 4, 4), loads=False),
    "upfirdn2d down 2 float16": Case(lambda: _resample(HALF, 1, 2, 4, 4), loads=False),
    "upfirdn2d same float16 channels_last": Case(lambda: _resample(HALF, 1, 1, 4, 4, last=True)),
    "upfirdn2d up 2 float16 channels_last": Case(lambda: _resample(HALF, 2, 1, 4, 4, last=True)),
    "upfirdn2d separable 12 up 2 float16": Case(
        lambda: _resample(HALF, 2, 1, 12), loads=False, launch=1
    ),
    "modulated_conv2d_scale float16": Case(lambda: _scale(HALF)),
    "spectral_norm transposed product float32": Case(lambda: _spectral(FLOAT, 0)),
    "spectral_norm product float16": Case(lambda: _spectral(HALF, 0), stores=False, launch=3),
    "spectral_norm_grad float32": Case(lambda: _spectral_grad(FLOAT), launch=2),
    "modulated_conv2d_scale_grad float16": Case(lambda: _scale_grad(HALF)),
    "modulated_conv2d_scale_grad float16 channels_last": Case(lambda: _scale_grad(HALF, last=True)),
    # The product's tile is stored from the registers of the tensor cores, which AMD has no
    # 128-bit stores for.
    "modulated_conv2d_fused float16 channels_last": Case(
        lambda: _fused(HALF, 64, 3), stores=False, products=True
    ),
    "modulated_conv2d_fused float32": Case(lambda: _fused(FLOAT, 64, 3, last=False), stores=False),
    "modulated_conv2d_fused tf32 channels_last": Case(
        lambda: _fused(FLOAT, 64, 3, tf32=True), stores=False, products=True
    ),
    "modulated_conv2d_fused rgb float16 channels_last": Case(
        lambda: _fused(HALF, 3, 1), stores=False
    ),
    "modulated_conv2d_fused up 2 product bfloat16 channels_last": Case(
        lambda: _fused(BRAIN, 64, 3, up=2), stores=False, products=True
    ),
    "modulated_conv2d_fused up 2 filter bfloat16 channels_last": Case(
        lambda: _fused(BRAIN, 64, 3, up=2), launch=1
    ),
    "spectral_norm normalise float32": Case(lambda: _spectral(FLOAT, 0), launch=2),
    "spectral_norm divide float32": Case(lambda: _spectral(FLOAT, 0), launch=6),
    "spectral_norm dot float32": Case(lambda: _spectral_grad(FLOAT), stores=False),
}


# The small fused ops.


def _noisy(dtype: torch.dtype, act: str, last: bool = False) -> Any:
    noise = _vector(FLOAT, 8, 1, 128, 128)
    return _noise_bias_act.noise_bias_act(
        _images(dtype, last=last), noise, _vector(dtype, 64), act, 0.2, 1.4, 256.0
    )


def _deviation(samples: int) -> Any:
    return _minibatch_std.minibatch_std(_images(FLOAT, samples, 512, 4, 4), 4, 1)


def _deviation_grad() -> Any:
    x = _images(HALF, 8, 512, 4, 4)
    return _minibatch_std.minibatch_std_grad(_images(HALF, 8, 513, 4, 4), x, 4, 1)


def _normalize(dtype: torch.dtype, stats: str, *parameters: int) -> Any:
    weight = bias = _vector(FLOAT, *parameters)
    return _normalize_act.normalize_act(
        _images(dtype), weight, bias, None, None, stats, 1e-5, "lrelu", 0.2, 1.4, -1.0
    )


def _normalize_grad(dtype: torch.dtype, act: str) -> Any:
    x, parameter = _images(dtype), _vector(FLOAT, 64)
    return _normalize_act.normalize_act_grad(
        x, x, parameter, parameter, parameter, parameter, False, "batch", 1e-5, act, 0.2, 1.4, -1.0
    )


CASES |= {
    "minibatch_std one group float32": Case(lambda: _deviation(4), stores=False),
    "minibatch_std concatenation float32": Case(lambda: _deviation(8), launch=1),
    "minibatch_std_grad float16": Case(_deviation_grad, launch=1),
    "normalize_act moments float16": Case(lambda: _normalize(HALF, "batch", 64), stores=False),
    "normalize_act instance float16": Case(lambda: _normalize(HALF, "instance", 8, 64), launch=1),
    "normalize_act sums float32": Case(lambda: _normalize_grad(FLOAT, "lrelu"), stores=False),
    "normalize_act_grad batch float16": Case(lambda: _normalize_grad(HALF, "swish"), launch=1),
    "noise_bias_act lrelu float16": Case(lambda: _noisy(HALF, "lrelu")),
    "noise_bias_act swish float32 channels_last": Case(lambda: _noisy(FLOAT, "swish", last=True)),
}
