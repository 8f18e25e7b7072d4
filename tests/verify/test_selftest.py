"""`fastgan selftest`: that it passes here, notices what is wrong, and says what did not run."""

import json
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from fastgan import ops
from fastgan.backends import cpp
from fastgan.cli import main
from fastgan.dispatch import registry
from fastgan.dispatch.spec import GPU_OPS
from fastgan.verify import cases, parity, repeat, report, speed, suite, training
from fastgan.verify.device import Device

CPU = Device("cpu", "cpu")
SMALL = [
    cases.Case("bias_act", "small", partial(ops.bias_act, act="swish"), ((2, 3, 5, 7), (3,))),
    cases.Case("bias_act", "empty", partial(ops.bias_act, act="lrelu"), ((0, 3, 2, 2), (3,))),
]


@pytest.fixture(autouse=True)
def _needs_kernels():
    reason = registry.why_not("cpp", parity.OpCall("bias_act", "cpu", torch.float32))
    if reason is not None:
        pytest.skip(f"backend cpp: {reason}")


@pytest.fixture
def small(monkeypatch):
    """A selftest of two cases, without times."""
    monkeypatch.setattr(cases, "cases", lambda quick: SMALL)
    monkeypatch.setattr(speed, "chosen", lambda device, quick: [])


@pytest.fixture
def plant(monkeypatch):
    """Replaces a kernel of the cpp backend."""
    original = cpp.launcher

    def into(kernel, wrap):
        def launcher(name):
            return wrap(original(name)) if name == kernel else original(name)

        monkeypatch.setattr(cpp, "launcher", launcher)
        registry.launcher.cache_clear()

    yield into
    monkeypatch.undo()
    registry.launcher.cache_clear()


def run(device=CPU, quick=True):
    return suite.run(device, quick=quick, console=Console(quiet=True))


def test_quick_selftest_of_the_cpu_passes(tmp_path, capsys):
    assert main(["selftest", "--device", "cpu", "--quick", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    found = json.loads((tmp_path / "selftest-cpu.json").read_text())
    page = (tmp_path / "selftest-cpu.md").read_text()
    assert found["ok"] is True
    assert found["seconds"] < 60
    assert {o["op"] for o in found["outcomes"] if o["check"] == "parity"} == set(registry.OPS) - {
        *GPU_OPS
    }
    assert {o["check"] for o in found["outcomes"]} == {"parity", "same bits", "memory"}
    assert all(s["seconds"]["cpp"]["minimum"] > 0 for s in found["speeds"])
    assert {s["op"].split()[0] for s in found["speeds"]} >= {"bias_act", "upfirdn2d"}
    assert found["facts"]["torch"] == torch.__version__
    assert "StyleGAN2 at batch 1" in page  # among what a quick run leaves out
    assert "passed: " in out
    assert "SKIPPED" in out
    assert page.count("| parity |") == sum(o["check"] == "parity" for o in found["outcomes"]) + 5


@pytest.mark.parametrize("factor", [1.001, float("nan")])
def test_a_wrong_kernel_fails(factor, small, plant, tmp_path, capsys):
    plant("bias_act", lambda kernel: lambda *args: kernel(*args) * factor)
    assert main(["selftest", "--device", "cpu", "--quick", "--output", str(tmp_path)]) == 1
    found = json.loads((tmp_path / "selftest-cpu.json").read_text())
    failed = [o for o in found["outcomes"] if not o["passed"]]
    assert {(o["backend"], o["op"], o["case"]) for o in failed} >= {("cpp", "bias_act", "small")}
    assert found["ok"] is False
    assert "FAILED" in capsys.readouterr().out


@pytest.mark.parametrize("kernel", ["bias_act_grad", "bias_act_grad2"])
def test_a_wrong_gradient_fails(kernel, small, plant):
    def wrap(launch):
        def run(*args):
            result = launch(*args)
            return tuple(r * 1.01 for r in result) if isinstance(result, tuple) else result * 1.01

        return run

    plant(kernel, wrap)
    notes = {o.note for o in run().failures if o.check == "parity"}
    assert notes <= {"first gradient", "second gradient"}
    assert ("first" if kernel == "bias_act_grad" else "second") in " ".join(notes)


def test_half_precision_compares_values_where_gradients_jump(plant):
    """What is at the edge of a clamp goes either way in half precision; values are continuous."""
    clamped = partial(ops.bias_act, act="lrelu", clamp=0.5)
    case = cases.Case("bias_act", "clamped", clamped, ((2, 3, 5, 7), (3,)), rounds_freely=False)

    def passed():
        found = parity.check([case], CPU, quick=True, progress=lambda: None)
        return {o.dtype: o.passed for o in found if o.backend == "cpp"}

    assert passed() == {"float32": True, "bfloat16": True}
    plant("bias_act_grad", lambda kernel: lambda *args: tuple(2 * g for g in kernel(*args)))
    assert passed() == {"float32": False, "bfloat16": True}
    plant("bias_act", lambda kernel: lambda *args: kernel(*args) * 1.1)
    assert passed() == {"float32": False, "bfloat16": False}


def test_a_kernel_that_raises_is_reported_and_the_rest_goes_on(small, plant):
    def broken(*_):
        raise RuntimeError("kernel [broken]\nhere")

    plant("bias_act", lambda kernel: broken)
    found = run()
    assert len(found.outcomes) == 8
    assert all("kernel [broken] here" in o.note for o in found.failures if o.check == "parity")
    assert "kernel [broken] here" in report.markdown(found)


def test_different_bits_fail(small, plant):
    calls = []

    def wrap(kernel):
        def run(*args):
            calls.append(1)
            y = kernel(*args)
            return y if len(calls) % 2 else torch.nextafter(y, y + 1)

        return run

    plant("bias_act", wrap)
    outcomes = list(repeat.same_bits(SMALL[:1], CPU, quick=True))
    assert [o.passed for o in outcomes if o.dtype == "float32"] == [False]


def test_a_leak_fails(small, plant):
    kept = []

    def wrap(kernel):
        def run(*args):
            kept.append(kernel(*args))
            return kept[-1].clone()

        return run

    plant("bias_act", wrap)
    outcomes = list(repeat.memory(SMALL[:1], CPU, quick=True))
    assert not any(o.passed for o in outcomes)
    kept.clear()


def test_nothing_verified_is_a_failure(small, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(registry, "BACKENDS", ("reference",))
    assert main(["selftest", "--device", "cpu", "--quick", "--output", str(tmp_path)]) == 1
    assert "no backend with kernels ran" in capsys.readouterr().out
    assert json.loads((tmp_path / "selftest-cpu.json").read_text())["ok"] is False


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what it says without a GPU")
@pytest.mark.parametrize("cuda", [None, "13.0"])
def test_a_missing_gpu_is_named_and_nothing_written(cuda, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.version, "cuda", cuda)
    assert main(["selftest", "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "nothing was verified" in error
    assert ("built for the CPU" if cuda is None else "finds no CUDA device") in error
    assert not (tmp_path / "out").exists()


class FakeCuda:
    """torch.cuda as far as the selftest uses it, on the CPU."""

    def __init__(self):
        self.allocated, self.events, self.resets = 0, 0, 0
        self.Event = partial(FakeEvent, self)

    def synchronize(self):
        pass

    def memory_allocated(self):
        return self.allocated

    def reset_peak_memory_stats(self):
        self.resets += 1

    def max_memory_allocated(self):
        return self.allocated + 4096

    def get_device_properties(self):
        return SimpleNamespace(
            name="Fake GPU", major=9, minor=0, total_memory=80 << 30, multi_processor_count=132
        )


class FakeEvent:
    def __init__(self, cuda, enable_timing):
        assert enable_timing
        self.cuda = cuda

    def record(self):
        self.cuda.events += 1
        self.at = self.cuda.events

    def elapsed_time(self, end):
        return float(end.at - self.at)  # milliseconds


@pytest.fixture
def fake(monkeypatch):
    """A CUDA device whose tensors are on the CPU, served by the cpp backend."""
    why = cpp.why_unsupported
    serve = lambda call: why(parity.OpCall(call.op, "cpu", call.dtype))  # noqa: E731
    monkeypatch.setattr(cpp, "why_unsupported", serve)
    return Device("cuda", "cpu", FakeCuda())


def test_the_branches_of_a_gpu(fake, small, monkeypatch, tmp_path):
    call = speed.calls.BiasAct(speed.calls.Images(2, 4, 8, 8, "fp32", False))
    monkeypatch.setattr(speed, "chosen", lambda device, quick: [call])
    found = run(fake)
    assert found.ok, report.verdict(found)
    assert found.ran == ["cpp"]
    assert fake.cuda.resets == 2  # a memory check for each dtype
    assert all("4096 more at the peak" in o.note for o in found.outcomes if o.check == "memory")
    assert found.speeds, found.skips
    assert found.speeds[0].seconds["cpp"]["minimum"] == pytest.approx(1e-3), "CUDA's events"
    assert found.facts["gpu"] == "Fake GPU"
    assert found.facts["compute_capability"] == "9.0"
    files = report.write(found, tmp_path)
    assert [f.name for f in files] == ["selftest-cuda.json", "selftest-cuda.md"]
    assert "not measured in a quick run" in files[1].read_text()


def test_memory_that_a_gpu_does_not_get_back_fails(fake, plant):
    def wrap(kernel):
        def run(*args):
            fake.cuda.allocated += 512
            return kernel(*args)

        return run

    plant("bias_act", wrap)
    outcomes = list(repeat.memory(SMALL[:1], fake, quick=True))
    assert [o.error for o in outcomes] == [3 * 512.0] * 2
    assert not any(o.passed for o in outcomes)


def test_torch_compile_is_timed_or_its_failure_said(monkeypatch):
    call = speed.calls.BiasAct(speed.calls.Images(2, 4, 8, 8, "fp32", False))
    monkeypatch.setattr(torch, "compile", lambda eager, dynamic: eager)
    (timed,) = speed.time_all([call], CPU, quick=False, progress=lambda: None)
    assert set(timed.seconds) == {"eager", "cpp", "compile"}
    assert set(timed.ratios["cpp"]) == {"eager", "compile"}

    def refuse(eager, dynamic):
        def run():
            raise RuntimeError("no compiler")

        return run

    monkeypatch.setattr(torch, "compile", refuse)
    skip, timed = speed.time_all([call], CPU, quick=False, progress=lambda: None)
    assert "no compiler" in skip.reason
    assert set(timed.seconds) == {"eager", "cpp"}


def test_a_training_step_can_be_timed():
    config = training.replace(
        training.stylegan2.lite(), batch=2, channel_base=64, channel_max=4, z_dim=4, w_dim=4,
        mapping_layers=1,
    )  # fmt: skip
    timed = training.time_step(CPU, config, 8, rounds=1)
    assert set(timed) == {"fastgan", "eager"}
    assert all(t["minimum"] > 0 for t in timed.values())
    assert "a CPU" in training.why_no_step(CPU, quick=False).reason
    assert training.why_no_step(Device("cuda", "cuda"), quick=False) is None


def test_reports_replace_whole_files(small, tmp_path):
    found = run()
    report.write(found, tmp_path)
    before = (tmp_path / "selftest-cpu.json").read_text()
    broken = suite.Report(
        **{**found.__dict__, "networks": {"what": {"who": {"minimum": 1.0, "median": object()}}}}
    )
    with pytest.raises(TypeError):
        report.write(broken, tmp_path)
    assert (tmp_path / "selftest-cpu.json").read_text() == before
    assert not list(tmp_path.glob(".*"))
