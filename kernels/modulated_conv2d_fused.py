"""The launcher of the fused modulated convolution: which kernel computes which call."""

from __future__ import annotations

from torch import Tensor

from fastgan.kernels import config, tensors
from fastgan.kernels.modulated_conv2d_gemm import Epilogue, convolve
from fastgan.kernels.modulated_conv2d_pointwise import convolve_pointwise
from fastgan.kernels.modulated_conv2d_up2 import convolve_up2


def modulated_conv2d_fused(
    x: Tensor, weight: Tensor, in_scale: Tensor, out_scale: Tensor | None, noise: Tensor | None,
    bias: Tensor | None, taps: Tensor | None, up: int, padding: list[int], act: str,
    alpha: float, gain: float, clamp: float, allow_tf32: bool,
) -> Tensor:  # fmt: skip
    """clamp(gain act(out_scale conv(x in_scale, weight) + noise + bias)), in the layout of x.

    With up = 2 the convolution is transposed, of stride 2 and followed by the filter `taps`.
    The weight correlates; scales, noise and bias are of the dtype that x is computed in.
    """
    x = tensors.image(x)
    epilogue = Epilogue(out_scale, noise, bias, act, alpha, gain, clamp)
    if up == 2 and taps is not None:
        return convolve_up2(x, weight, in_scale, taps, padding, epilogue, allow_tf32)
    few = weight.shape[0] <= config.POINTWISE_OUT
    if few and weight.shape[2:] == (1, 1) and not any(padding):
        return convolve_pointwise(x, weight, in_scale, epilogue)
    return convolve(x, weight, in_scale, padding, epilogue, allow_tf32)
