"""What comes of running a call again: the same bits, and no more memory than before."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import torch

from fastgan.verify.cases import Case
from fastgan.verify.device import Device
from fastgan.verify.parity import Outcome, all_passes, dtypes, kernel_backends, why_not

ROUNDS = 3


def chosen(found: list[Case], *, kinds: bool = True) -> list[Case]:
    """The largest case of each op, or of each kind of each op."""
    largest: dict[tuple[str, str], Case] = {}
    for case in found:
        size = sum(torch.Size(size).numel() for size in case.sizes)
        key = (case.op, case.kind if kinds else "")
        best = largest.get(key)
        if best is None or size > sum(torch.Size(s).numel() for s in best.sizes):
            largest[key] = case
    return list(largest.values())


def same_bits(found: list[Case], device: Device, *, quick: bool) -> Iterator[Outcome]:
    """Run each call twice; value and gradients must be the same bits."""
    for case, dtype, backend in _runs(chosen(found), device, quick=quick):
        inputs = case.inputs(dtype, device.place)
        label = ("same bits", backend, case.op, case.name, str(dtype)[6:])
        try:
            one, two = (all_passes(case, inputs, backend, dtype) for _ in range(2))
        except Exception as error:
            yield Outcome(*label, False, None, None, f"{type(error).__name__}: {error}")
            continue
        pairs = [pair for group in zip(one, two, strict=True) for pair in zip(*group, strict=True)]
        differ = sum(not torch.equal(a, b) for a, b in pairs)
        note = f"{differ} of {len(pairs)} results differ" if differ else ""
        yield Outcome(*label, differ == 0, float(differ), 0.0, note)


def memory(found: list[Case], device: Device, *, quick: bool) -> Iterator[Outcome]:
    """Run each call several times; what lives afterwards must be what lived before."""
    gc.collect()
    gc.freeze()  # what is older is not looked at again and again
    try:
        yield from _memory(found, device, quick=quick)
    finally:
        gc.unfreeze()


def _memory(found: list[Case], device: Device, *, quick: bool) -> Iterator[Outcome]:
    few = chosen(found, kinds=not quick)
    for case, dtype, backend in _runs(few, device, quick=quick):
        inputs = case.inputs(dtype, device.place)
        label = ("memory", backend, case.op, case.name, str(dtype)[6:])
        try:
            all_passes(case, inputs, backend, dtype)  # libraries allocate what they keep
            before = device.memory()
            device.forget_peak()
            for _ in range(ROUNDS):
                all_passes(case, inputs, backend, dtype)
            peak, left = device.peak(), device.memory() - before
        except Exception as error:
            yield Outcome(*label, False, None, None, f"{type(error).__name__}: {error}")
            continue
        note = f"{left} bytes more after {ROUNDS} runs"
        if peak is not None:
            note += f"; {peak - before} more at the peak"
        yield Outcome(*label, left <= 0, float(left), 0.0, note)


def _runs(
    found: list[Case], device: Device, *, quick: bool
) -> Iterator[tuple[Case, torch.dtype, str]]:
    for case in found:
        for dtype in dtypes(quick):
            for backend in kernel_backends():
                if why_not(backend, case.op, device, dtype) is None:
                    yield case, dtype, backend
