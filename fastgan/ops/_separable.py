"""Factors of FIR filters: the taps t of a filter that is outer(t, t)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from fastgan.ops._register import is_eager

# {filter: (its version, its taps)}. A filter is read once, because that waits for the device.
_found: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def separable_taps(filter: Tensor) -> Tensor | None:
    """float32 taps t with filter = outer(t, t), or None when there are none, or when the values
    cannot be read: in a traced call a 2-D filter has none.

    Waits for the device once per filter, and again after a change in place; at every call for a
    filter made in inference mode.
    """
    if filter.ndim == 1:
        return filter
    if torch.compiler.is_compiling() or filter.is_meta or not is_eager((filter,)):
        return None
    if filter.is_inference():  # without a version, a change in place would go unnoticed
        return _factor(filter)
    version = filter._version
    known = _found.get(filter)
    if known is None or known[0] != version:
        with torch.inference_mode(False):  # gradients may save what is found now for good
            known = (version, _factor(filter.detach()))
        _found[filter] = known
    taps: Tensor | None = known[1]
    return taps


def _factor(filter: Tensor) -> Tensor | None:
    if filter.shape[0] != filter.shape[1]:
        return None
    values = filter.cpu().double()
    largest = int(values.diagonal().argmax())  # the best conditioned row
    if values[largest, largest] <= 0:
        return None
    taps = values[largest] / values[largest, largest].sqrt()
    error = (torch.outer(taps, taps) - values).abs().max()
    if not error <= 1e-6 * values.abs().max():  # a NaN has no factor
        return None
    return taps.float().to(filter.device)
