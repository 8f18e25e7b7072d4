"""modulated_conv2d: convolution whose weight is scaled by a style, sample by sample.

The mathematics is in `fastgan.reference.modulated_conv2d`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastgan import reference
from fastgan.dispatch import select
from fastgan.ops._check import check_floating, check_rank, padding4


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    noise: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] = 0,
    resample_filter: Tensor | None = None,
    demodulate: bool = True,
    flip_weight: bool = True,
    backend: str | None = None,
) -> Tensor:
    """Convolve each sample with the weight scaled by its style, and normalise.

    y[n] = conv2d_resample(x[n], w[o, i] * s[n, i] * d[n, o]) + noise[n], with
    d[n, o] = rsqrt(sum_{i, kh, kw} (w[o, i, kh, kw] * s[n, i])^2 + 1e-8), or 1 without
    demodulation. Computed by scaling x and y, so that the weight stays constant.

    Args:
        x: [N, C_in, H, W], float32, float64, float16 or bfloat16.
        weight: [C_out, C_in, kh, kw], floating point.
        styles: [N, C_in], floating point.
        noise: broadcastable to the output [N, C_out, out_h, out_w], usually [N, 1, out_h, out_w].
        up: upsampling factor. down: downsampling factor.
        padding: int, [x, y] or [x0, x1, y0, y1], as in `conv2d_resample`.
        resample_filter: float32 taps from `setup_filter`.
        demodulate: normalise to unit variance for unit-variance input.
        flip_weight: True correlates, False convolves.
        backend: "reference" or "cpp"; None lets dispatch choose.

    Returns:
        [N, C_out, out_h, out_w], dtype of x. In half precision with demodulation the weight is
        first divided by sqrt(fan_in) max|w| and the styles by max|s|, so that no product
        overflows.

    Raises:
        TypeError: an argument is not floating point.
        ValueError: a shape, factor or padding does not fit.
        BackendUnavailableError: `backend` cannot run this call.

    Differentiable: any order in x, weight, styles and noise.

    Source: Karras et al. 2020 (StyleGAN2), equations 1 to 3.
    """
    cut = padding4("modulated_conv2d", padding)
    _check(x, weight, styles)
    chosen = select("modulated_conv2d", x, backend)
    if chosen == "reference":
        return reference.modulated_conv2d(
            x, weight, styles, noise=noise, up=up, down=down, padding=cut,
            resample_filter=resample_filter, demodulate=demodulate, flip_weight=flip_weight,
        )  # fmt: skip
    raise NotImplementedError


def _check(x: Tensor, weight: Tensor, styles: Tensor) -> None:
    for name, tensor in (("x", x), ("weight", weight), ("styles", styles)):
        check_floating("modulated_conv2d", name, tensor)
    check_rank("modulated_conv2d", "x", x, 4, "[N, C_in, H, W]")
    check_rank("modulated_conv2d", "weight", weight, 4, "[C_out, C_in, kh, kw]")
    if weight.shape[1] != x.shape[1] or tuple(styles.shape) != tuple(x.shape[:2]):
        raise ValueError(
            f"modulated_conv2d: x {tuple(x.shape)} needs weight [C_out, {x.shape[1]}, kh, kw] and "
            f"styles [{x.shape[0]}, {x.shape[1]}], got {tuple(weight.shape)} and "
            f"{tuple(styles.shape)}"
        )
