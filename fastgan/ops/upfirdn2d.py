"""upfirdn2d: pad, upsample, filter and downsample images in one pass.

Public functions, schema, fake kernel and gradient (the op is its own adjoint, up and down
swapped). The mathematics is in `fastgan.reference.upfirdn2d`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastgan import reference
from fastgan.dispatch import launcher, select
from fastgan.ops._check import check_floating, check_rank, padding4, pair
from fastgan.ops._layout import memory_format
from fastgan.ops._register import register, registered


def setup_filter(
    f: Any,
    *,
    device: torch.device | str | None = None,
    normalize: bool = True,
    flip_filter: bool = False,
    gain: float = 1.0,
    separable: bool | None = None,
) -> Tensor:
    """Prepare FIR taps for `upfirdn2d` and the functions built on it.

    Args:
        f: taps as a number, a list, a [n] or [fh, fw] array or tensor; None means [1].
        device: where the result lives.
        normalize: divide by the sum, so that a constant image keeps its value.
        flip_filter: reverse the taps.
        gain: scale of the signal; a 1-D result carries gain ** 0.5 per pass.
        separable: keep a 1-D filter 1-D (two 1-D passes). None: from 8 taps on. False makes the
            outer product.

    Returns:
        float32 [n] when separable, else [fh, fw].

    Raises:
        ValueError: not one or two dimensions, empty, or a 2-D filter asked to be separable.
    """
    taps = torch.as_tensor(1.0 if f is None else f, dtype=torch.float32)
    if taps.ndim > 2 or taps.numel() == 0:
        raise ValueError(
            f"setup_filter: f must hold taps in 0, 1 or 2 dimensions, got {tuple(taps.shape)}"
        )
    taps = taps.reshape(1) if taps.ndim == 0 else taps
    if separable is None:
        separable = taps.ndim == 1 and taps.numel() >= 8
    if separable and taps.ndim == 2:
        raise ValueError("setup_filter: separable=True needs 1-D taps, got a 2-D filter")
    if taps.ndim == 1 and not separable:
        taps = torch.outer(taps, taps)
    if normalize:
        taps = taps / taps.sum()
    if flip_filter:
        taps = taps.flip(list(range(taps.ndim)))
    return (taps * gain ** (taps.ndim / 2)).to(device)


def upfirdn2d(
    x: Tensor,
    filter: Tensor | None,
    *,
    up: int | Sequence[int] = 1,
    down: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
    backend: str | None = None,
) -> Tensor:
    """Upsample, filter and downsample a batch of images.

    1. Insert up-1 zeros after each pixel. 2. Pad, in upsampled pixels; negative padding crops.
    3. Valid convolution with the filter. 4. Keep every down-th pixel. Times gain.

    Args:
        x: [N, C, H, W], floating point; contiguous or channels_last runs without a copy.
        filter: float32 taps from `setup_filter`, [fh, fw] or [n] (separable); None is identity.
        up: zero-insertion factor, int or [x, y].
        down: decimation factor, int or [x, y].
        padding: int, [x, y] or [x0, x1, y0, y1].
        flip_filter: True correlates, False (default) convolves.
        gain: scale of the output.
        backend: "reference", "cpp", "cuda" or "triton"; None lets dispatch choose.

    Returns:
        [N, C, out_h, out_w] in x's dtype and memory format, with
        out_w = (W * up_x + x0 + x1 - fw + down_x) // down_x and the same for out_h.

    Raises:
        TypeError: x is not floating point, or filter is not a float32 tensor.
        ValueError: a rank, factor, padding or device does not fit, or the filter is larger than
            the padded image.
        BackendUnavailableError: `backend` cannot run this call.

    Differentiable: any order in x; the filter is a constant.

    Source: Karras et al. 2020 (StyleGAN2), appendix B; scipy.signal.upfirdn in one dimension.
    """
    up, down = pair("upfirdn2d", "up", up), pair("upfirdn2d", "down", down)
    cut = padding4("upfirdn2d", padding)
    _check(x, filter, up, cut)
    chosen = select("upfirdn2d", x, backend)

    taps = torch.ones(1, 1, device=x.device) if filter is None else filter.detach()
    if chosen == "reference":
        y = reference.upfirdn2d(
            x, taps, up=up, down=down, padding=cut, flip_filter=flip_filter, gain=float(gain)
        )
        return y.contiguous(memory_format=memory_format(x))
    result: Tensor = registered.upfirdn2d(x, taps, up, down, cut, flip_filter, float(gain), chosen)
    return result


def filter2d(
    x: Tensor,
    filter: Tensor | None,
    *,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
    backend: str | None = None,
) -> Tensor:
    """Filter images [N, C, H, W] and keep their size; `padding` is added on top of that.

    See `upfirdn2d` for arguments, errors and differentiability.
    """
    x0, x1, y0, y1 = padding4("filter2d", padding)
    width, height = _taps(filter)
    cut = (x0 + width // 2, x1 + (width - 1) // 2, y0 + height // 2, y1 + (height - 1) // 2)
    return upfirdn2d(x, filter, padding=cut, flip_filter=flip_filter, gain=gain, backend=backend)


def upsample2d(
    x: Tensor,
    filter: Tensor | None,
    *,
    up: int | Sequence[int] = 2,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
    backend: str | None = None,
) -> Tensor:
    """Upsample images [N, C, H, W] to [N, C, H * up_y, W * up_x], keeping their brightness.

    See `upfirdn2d` for arguments, errors and differentiability.
    """
    up_x, up_y = pair("upsample2d", "up", up)
    x0, x1, y0, y1 = padding4("upsample2d", padding)
    width, height = _taps(filter)
    cut = (
        x0 + (width + up_x - 1) // 2,
        x1 + (width - up_x) // 2,
        y0 + (height + up_y - 1) // 2,
        y1 + (height - up_y) // 2,
    )
    return upfirdn2d(
        x, filter, up=(up_x, up_y), padding=cut, flip_filter=flip_filter,
        gain=gain * up_x * up_y, backend=backend,
    )  # fmt: skip


def downsample2d(
    x: Tensor,
    filter: Tensor | None,
    *,
    down: int | Sequence[int] = 2,
    padding: int | Sequence[int] = 0,
    flip_filter: bool = False,
    gain: float = 1.0,
    backend: str | None = None,
) -> Tensor:
    """Downsample images [N, C, H, W] to [N, C, H / down_y, W / down_x].

    See `upfirdn2d` for arguments, errors and differentiability.
    """
    down_x, down_y = pair("downsample2d", "down", down)
    x0, x1, y0, y1 = padding4("downsample2d", padding)
    width, height = _taps(filter)
    cut = (
        x0 + (width - down_x + 1) // 2,
        x1 + (width - down_x) // 2,
        y0 + (height - down_y + 1) // 2,
        y1 + (height - down_y) // 2,
    )
    return upfirdn2d(
        x, filter, down=(down_x, down_y), padding=cut, flip_filter=flip_filter, gain=gain,
        backend=backend,
    )  # fmt: skip


def _taps(filter: Tensor | None) -> tuple[int, int]:
    return (1, 1) if filter is None else (filter.shape[-1], filter.shape[0])


def _check(
    x: Tensor, filter: Tensor | None, up: tuple[int, int], cut: tuple[int, int, int, int]
) -> None:
    check_floating("upfirdn2d", "x", x)
    check_rank("upfirdn2d", "x", x, 4, "[N, C, H, W]")
    if filter is not None:
        _check_filter(filter, x)
    width, height = _taps(filter)
    padded = (
        x.shape[3] * up[0] + cut[0] + cut[1],
        x.shape[2] * up[1] + cut[2] + cut[3],
    )
    if padded[0] < width or padded[1] < height:
        raise ValueError(
            f"upfirdn2d: the filter ({height} x {width}) is larger than the padded image "
            f"({padded[1]} x {padded[0]}); pad more or use a shorter filter"
        )


def _check_filter(filter: Tensor, x: Tensor) -> None:
    wrong = not isinstance(filter, Tensor) or filter.dtype != torch.float32
    if wrong or filter.ndim not in (1, 2):
        shape = f" of shape {tuple(filter.shape)}" if isinstance(filter, Tensor) else ""
        raise TypeError(
            "upfirdn2d: filter must be a float32 tensor of 1 or 2 dimensions (see setup_filter), "
            f"got {getattr(filter, 'dtype', type(filter).__name__)}{shape}"
        )
    if filter.numel() == 0:
        raise ValueError(f"upfirdn2d: filter has no taps, its shape is {tuple(filter.shape)}")
    if filter.device != x.device:
        raise ValueError(
            f"upfirdn2d: filter is on {filter.device}, x is on {x.device}; move one of them"
        )


def _output_size(size: int, up: int, pad: int, taps: int, down: int) -> int:
    return (size * up + pad - taps + down) // down


def _forward(x: Tensor, filter: Tensor, up: list[int], down: list[int], padding: list[int],
             flip_filter: bool, gain: float, backend: str) -> Tensor:  # fmt: skip
    y: Tensor = launcher("upfirdn2d", backend)(x, filter, up, down, padding, flip_filter, gain)
    return y


def _fake(x: Tensor, filter: Tensor, up: list[int], down: list[int], padding: list[int],
          flip_filter: bool, gain: float, backend: str) -> Tensor:  # fmt: skip
    width, height = _taps(filter)
    size = (
        x.shape[0],
        x.shape[1],
        _output_size(x.shape[2], up[1], padding[2] + padding[3], height, down[1]),
        _output_size(x.shape[3], up[0], padding[0] + padding[1], width, down[0]),
    )
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=memory_format(x))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, filter, up, down, padding, flip_filter, gain, backend = inputs
    ctx.save_for_backward(filter)
    ctx.in_size, ctx.out_size = x.shape[2:], output.shape[2:]
    ctx.arguments = (up, down, padding, flip_filter, gain, backend)


def _backward(ctx: Any, grad_y: Tensor) -> tuple[Any, ...]:
    (filter,) = ctx.saved_tensors
    up, down, padding, flip_filter, gain, backend = ctx.arguments
    width, height = _taps(filter)
    (in_h, in_w), (out_h, out_w) = ctx.in_size, ctx.out_size
    cut = [
        width - padding[0] - 1,
        in_w * up[0] - out_w * down[0] + padding[0] - up[0] + 1,
        height - padding[2] - 1,
        in_h * up[1] - out_h * down[1] + padding[2] - up[1] + 1,
    ]
    grad_x = registered.upfirdn2d(grad_y, filter, down, up, cut, not flip_filter, gain, backend)
    return grad_x, *[None] * 7


register(
    "upfirdn2d(Tensor x, Tensor filter, int[2] up, int[2] down, SymInt[4] padding, "
    "bool flip_filter, float gain, str backend) -> Tensor",
    _forward,
    _fake,
    setup_context=_setup_context,
    backward=_backward,
)
