"""conv2d_resample: convolution with up- or downsampling, in the cheapest equal formulation.

A composition of `upfirdn2d`, `conv3x3` and torch's convolutions, so it needs no gradient of its
own, but for those 3x3 convolutions by 2 that `conv2d_resample_2x` has kernels for. The defining
formulation is `fastgan.reference.conv2d_resample`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from fastgan import reference
from fastgan.dispatch import select
from fastgan.ops._check import check_floating, check_rank, check_same, padding4
from fastgan.ops._half_conv import conv2d, conv_transpose2d
from fastgan.ops.conv2d_resample_2x import conv3x3_2x
from fastgan.ops.conv3x3 import conv3x3
from fastgan.ops.upfirdn2d import upfirdn2d


def conv2d_resample(
    x: Tensor,
    weight: Tensor,
    filter: Tensor | None = None,
    *,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    flip_weight: bool = True,
    flip_filter: bool = False,
    backend: str | None = None,
) -> Tensor:
    """Upsample, convolve and downsample images.

    Equal to: upfirdn2d(up) with gain up^2, convolution with weight, upfirdn2d(down). The padding
    is the convolution's; the filter's own is added, so that a k x k weight with padding k // 2
    maps H to H * up / down.

    Args:
        x: [N, C_in, H, W], floating point.
        weight: [C_out, C_in / groups, kh, kw], dtype of x.
        filter: float32 taps from `setup_filter`, used where up or down is above 1.
        up: upsampling factor, at least 1.
        down: downsampling factor, at least 1.
        padding: int, [x, y] or [x0, x1, y0, y1].
        groups: split of the channels, as in torch.
        flip_weight: True correlates (as torch does), False convolves.
        flip_filter: the same for the filter, which convolves by default.
        backend: "reference", "cpp", "cuda" or "triton"; None lets dispatch choose.

    Returns:
        [N, C_out, out_h, out_w], dtype of x.

    Raises:
        TypeError: x is not floating point, or weight has another dtype.
        ValueError: a shape, factor or padding does not fit.
        BackendUnavailableError: `backend` cannot run this call.

    Differentiable: any order in x and weight.

    Source: Karras et al. 2020 (StyleGAN2), appendix B.
    """
    cut = padding4("conv2d_resample", padding)
    _check(x, weight, up, down, groups)
    chosen = select("conv2d_resample", x, backend)
    if chosen == "reference":
        return reference.conv2d_resample(
            x, weight, filter, up=up, down=down, padding=cut, groups=groups,
            flip_weight=flip_weight, flip_filter=flip_filter,
        )  # fmt: skip
    if up != down:
        fused = conv3x3_2x(
            x, weight, filter, up, down, cut, groups, flip_weight, flip_filter, chosen
        )
        if fused is not None:
            return fused
    resample = partial(upfirdn2d, flip_filter=flip_filter, backend=chosen)
    cut = _with_filter_padding(cut, filter, up, down)
    kernel = weight if flip_weight else weight.flip([2, 3])
    pointwise = weight.shape[2:] == (1, 1)

    if pointwise and down > 1 and up == 1:
        return conv2d(resample(x, filter, down=down, padding=cut), kernel, groups=groups)
    if pointwise and up > 1 and down == 1:
        y = conv2d(x, kernel, groups=groups)
        return resample(y, filter, up=up, padding=cut, gain=up**2)
    if down > 1 and up == 1:
        y = resample(x, filter, padding=cut)
        return conv2d(y, kernel, stride=down, groups=groups)
    if up > 1:
        y, cut = _transposed(x, kernel, up, cut, groups)
        y = resample(y, filter, padding=cut, gain=up**2)
        return resample(y, filter, down=down) if down > 1 else y
    if cut == (1, 1, 1, 1) and kernel.shape[2:] == (3, 3) and groups == 1:
        return conv3x3(x, kernel, chosen)
    if cut[0] == cut[1] >= 0 and cut[2] == cut[3] >= 0:
        return conv2d(x, kernel, padding=(cut[2], cut[0]), groups=groups)
    return conv2d(resample(x, None, padding=cut), kernel, groups=groups)


def _check(x: Tensor, weight: Tensor, up: int, down: int, groups: int) -> None:
    check_floating("conv2d_resample", "x", x)
    check_rank("conv2d_resample", "x", x, 4, "[N, C_in, H, W]")
    check_rank("conv2d_resample", "weight", weight, 4, "[C_out, C_in / groups, kh, kw]")
    check_same("conv2d_resample", "weight", weight, x)
    if x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise ValueError(
            f"conv2d_resample: weight {tuple(weight.shape)} with groups={groups} needs x with "
            f"{weight.shape[1] * groups} channels and C_out divisible by groups, "
            f"got x {tuple(x.shape)}"
        )
    for name, factor in (("up", up), ("down", down)):
        if not isinstance(factor, int) or factor < 1:
            raise ValueError(f"conv2d_resample: {name} must be an int >= 1, got {factor!r}")


def _with_filter_padding(
    cut: tuple[int, int, int, int], filter: Tensor | None, up: int, down: int
) -> tuple[int, int, int, int]:
    """Add the filter's padding, so that the output is centred on the input."""
    width, height = (1, 1) if filter is None else (filter.shape[-1], filter.shape[0])
    x0, x1, y0, y1 = cut
    if up > 1:
        x0, x1 = x0 + (width + up - 1) // 2, x1 + (width - up) // 2
        y0, y1 = y0 + (height + up - 1) // 2, y1 + (height - up) // 2
    if down > 1:
        x0, x1 = x0 + (width - down + 1) // 2, x1 + (width - down) // 2
        y0, y1 = y0 + (height - down + 1) // 2, y1 + (height - down) // 2
    return x0, x1, y0, y1


def _transposed(
    x: Tensor, kernel: Tensor, up: int, cut: tuple[int, int, int, int], groups: int
) -> tuple[Tensor, tuple[int, int, int, int]]:
    """Zero insertion and convolution as one transposed convolution, which skips the zeros.

    Returns the convolved image and the padding that is left for the filter.
    """
    out_channels, in_per_group, kernel_h, kernel_w = kernel.shape
    # conv_transpose2d scatters with the kernel as it stands, which is the flip of a correlation.
    weight = kernel.flip([2, 3]).reshape(groups, -1, in_per_group, kernel_h, kernel_w)
    weight = weight.transpose(1, 2).reshape(-1, out_channels // groups, kernel_h, kernel_w)
    x0, x1 = cut[0] - (kernel_w - 1), cut[1] - (kernel_w - up)
    y0, y1 = cut[2] - (kernel_h - 1), cut[3] - (kernel_h - up)
    crop_x, crop_y = max(min(-x0, -x1), 0), max(min(-y0, -y1), 0)
    y = conv_transpose2d(x, weight, up, (crop_y, crop_x), groups)
    return y, (x0 + crop_x, x1 + crop_x, y0 + crop_y, y1 + crop_y)
