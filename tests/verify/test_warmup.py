"""`fastgan warmup`: what it runs, what it says, and that it says why it cannot."""

import pytest
import torch
from rich.console import Console

from fastgan.backends import cpp
from fastgan.cli import main
from fastgan.dispatch import registry
from fastgan.networks.geometry import Widths
from fastgan.roofline import calls
from fastgan.verify import warmup

KERNELS = {
    "bias_act", "bias_act_grad", "bias_act_grad2", "upfirdn2d", "modulated_conv2d_scale",
    "modulated_conv2d_scale_grad", "spectral_norm", "spectral_norm_grad",
}  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what it says without a GPU")
def test_without_a_gpu_it_says_why_and_what_to_do(capsys):
    assert main(["warmup"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "nothing was compiled" in error
    assert "run fastgan warmup on the machine that will train" in error


def test_every_kernel_runs_forward_and_backward(monkeypatch, tmp_path):
    """On the cpp backend, whose kernels have the names of Triton's."""
    if registry.why_not("cpp", warmup.OpCall("bias_act", "cpu", torch.float32)) is not None:
        pytest.skip("no backend with kernels for the CPU")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    ran, original = set(), cpp.launcher

    def launcher(name):
        def run(*arguments):
            ran.add(name)
            (tmp_path / name).mkdir(exist_ok=True)  # as Triton fills its cache
            return original(name)(*arguments)

        return run

    monkeypatch.setattr(cpp, "launcher", launcher)
    registry.launcher.cache_clear()
    found = [
        call
        for call in calls.stylegan2(8, 2, Widths(64, 16), "fp32")
        if not getattr(call, "backward", False)
    ]
    done = []
    warmed = warmup.warm(found, "cpu", "cpp", progress=lambda: done.append(1))
    registry.launcher.cache_clear()
    assert ran == KERNELS
    assert len(done) == len(found) == sum(entry.calls for entry in warmed)
    assert sum(entry.kernels for entry in warmed) == len(KERNELS)


def test_every_modulated_convolution_of_the_network_is_warmed():
    """The layers of all levels in both dtypes: 3 x 3, with up 2 but for the first, to the image."""
    found = {
        (call.x.dtype, call.x.height * call.up, call.size, call.up, call.out_channels == 3)
        for call in warmup.calls(256, None, ("fp16", "fp32"))
        if isinstance(call, calls.ModulatedConv2d)
    }
    levels = [4, 8, 16, 32, 64, 128, 256]
    for dtype in ("fp16", "fp32"):
        expected = {(dtype, level, 3, 1, False) for level in levels}
        expected |= {(dtype, level, 3, 2, False) for level in levels[1:]}
        expected |= {(dtype, level, 1, 1, True) for level in levels}
        assert {key for key in found if key[0] == dtype} == expected


@pytest.mark.parametrize("rgb", [False, True])
@pytest.mark.parametrize("up", [1, 2])
def test_layers_are_warmed_with_all_that_follows_them(rgb, up, monkeypatch):
    call = calls.ModulatedConv2d(calls.Images(2, 4, 8, 8, "fp16", True), 3, 3, up, rgb)
    seen, op = {}, warmup.ops.modulated_conv2d

    def record(x, **given):
        seen.update(given, layout=x.is_contiguous(memory_format=torch.channels_last), x=x)
        return op(x, **given)

    monkeypatch.setattr(warmup.ops, "modulated_conv2d", record)
    ((function, inputs),) = warmup._functions(call, "cpu")
    warmup._differentiate_twice(function, inputs, "reference")
    assert seen["layout"]
    assert seen["x"].dtype == torch.float16
    assert (seen["demodulate"], "noise" in seen, seen.get("act", "linear")) == (
        (False, False, "linear") if rgb else (True, True, "lrelu")
    )
    assert all(seen[name].requires_grad for name in ("x", "weight", "styles", "bias"))


def test_a_backend_that_cannot_run_is_an_error():
    with pytest.raises(warmup.BackendUnavailableError, match="warmup: "):
        warmup.warm([], "nowhere")


def test_the_table_names_the_ops(monkeypatch, capsys):
    warmed = [warmup.Warmed("bias_act", 3, 5, 1.5), warmup.Warmed("upfirdn2d", 1, 2, 0.5)]
    monkeypatch.setattr(warmup, "warm", lambda *_, **__: warmed)
    warmup.run("cuda", 256, None, ["fp16"], Console(width=100))
    out = capsys.readouterr().out
    assert "bias_act" in out
    assert "7 kernels compiled" in out
