"""That the selftest has the layers of a generator: what is compared, run again and timed; its
device and precision."""

import torch

from fastgan.dispatch import registry
from fastgan.roofline.measured import precision
from fastgan.verify import cases, parity, repeat, speed
from fastgan.verify.device import Device, open_device

CPU = Device("cpu", "cpu")


def test_layers_of_every_kind_are_compared_and_run_again():
    for quick in (True, False):
        found = [c for c in cases.cases(quick=quick) if c.name.startswith("layer")]
        assert {c.kind for c in found} == {"3x3", "up", "rgb"}
        assert {c.layout for c in found} == {"contiguous", "channels_last"}
        again = repeat.chosen(cases.cases(quick=quick))
        assert {c.kind for c in again if c.op == "modulated_conv2d"} == {"", "3x3", "up", "rgb"}


def test_what_a_backend_composes_is_said():
    said = [skip for skip in parity.skips(CPU, quick=True) if "one kernel" in skip.what]
    if registry.why_not("cpp", parity.OpCall("modulated_conv2d", "cpu", torch.float32)) is not None:
        assert not said
        return
    fused = registry.has_kernel("modulated_conv2d_fused", "cpp")
    assert [skip.what for skip in said] == ["modulated_conv2d in one kernel on cpp"] * (not fused)


def test_layers_of_every_kind_are_timed():
    for device in (CPU, Device("cuda", "cuda")):
        timed = [c for c in speed.chosen(device, quick=False) if hasattr(c, "rgb")]
        kinds = {(c.size, c.up, c.role) for c in timed}
        assert kinds == {(3, 1, "forward"), (3, 2, "forward"), (1, 1, "forward")}
        dtypes = {c.x.dtype for c in timed}
        assert dtypes == ({"fp16", "tf32", "fp32"} if device.on_gpu else {"fp32"})


def test_precision_is_of_convolutions_and_leaves_cudnn_on():
    settings = torch.backends.cudnn
    before = settings.enabled, settings.allow_tf32, settings.conv.fp32_precision
    for dtype, allowed in (("fp32", False), ("fp16", False), ("tf32", True)):
        with precision(dtype):
            assert settings.enabled
            assert (settings.conv.fp32_precision == "tf32") == allowed
    assert (settings.enabled, settings.allow_tf32, settings.conv.fp32_precision) == before


def test_open_device_takes_the_cpu():
    assert not open_device("cpu").on_gpu
    assert Device("cpu", "cpu").peak() is None
