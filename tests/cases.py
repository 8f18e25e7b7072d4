"""Tensors in every shape and memory layout that an op must serve: the shared case table."""

from collections.abc import Callable

import torch
from torch import Tensor

IMAGE_SHAPES = {
    "small": (2, 3, 5, 7),
    "one_pixel": (1, 1, 1, 1),
    "row": (2, 5, 1, 33),
    "column": (3, 4, 17, 1),
    "many_channels": (2, 37, 3, 3),
    "vector_width": (1, 16, 8, 8),
    "wide": (1, 2, 9, 131),
    "empty_batch": (0, 3, 4, 4),
    "empty_height": (2, 3, 0, 4),
}


def _strided(x: Tensor) -> Tensor:
    wide = x.repeat_interleave(2, dim=-1) if x.ndim else x
    return wide[..., ::2]


def _offset(x: Tensor) -> Tensor:
    return torch.cat([x[:1], x])[1:] if x.shape[0] else x


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x.contiguous(),
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "batch_last": lambda x: x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "strided": _strided,
    "offset": _offset,
    "expanded": lambda x: x[:1].expand(x.shape) if x.shape[0] else x,
}


def images(shape: str, layout: str, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Normal values in the shape and layout named, rounded to `dtype`."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(IMAGE_SHAPES[shape], generator=generator, dtype=torch.float64)
    return LAYOUTS[layout](x.to(dtype))


def away_from_zero(*shape: int, seed: int = 0) -> Tensor:
    """float64 values with |x| >= 0.05, so that finite differences do not cross a kink at 0."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    return (x + 0.05 * x.sign()).requires_grad_()


def same_layout(actual: Tensor, expected: Tensor) -> bool:
    """Equal strides in every dimension that has more than one element."""
    return actual.shape == expected.shape and all(
        a == b
        for a, b, size in zip(actual.stride(), expected.stride(), actual.shape, strict=True)
        if size > 1
    )
