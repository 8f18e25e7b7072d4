"""Which backend serves a call, and what the refusals say."""

import inspect
import logging
import sys
import threading
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest
import torch

from fastgan import BackendUnavailableError, ConfigError, ops, use_backend
from fastgan.dispatch import registry, select
from fastgan.dispatch.select import _automatic, parse_request
from fastgan.dispatch.spec import OpCall

X = torch.zeros(1, 1)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTGAN_BACKEND", raising=False)


def test_argument_beats_context_beats_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGAN_BACKEND", "reference")
    assert select("bias_act", X) == "reference"
    with use_backend("bias_act=cpp"):
        assert select("bias_act", X) == "cpp"
        assert select("upfirdn2d", X) == "reference"
        with use_backend("reference"):
            assert select("bias_act", X) == "reference"
            assert select("bias_act", X, "cpp") == "cpp"
        assert select("bias_act", X) == "cpp"
    assert select("bias_act", X) == "reference"


def test_auto_takes_the_kernel_and_overrides_what_is_outside() -> None:
    assert select("bias_act", X) == "cpp"
    with use_backend("reference"), use_backend("auto"):
        assert select("bias_act", X) == "cpp"
    assert select("bias_act", X, "auto") == "cpp"


def test_a_block_holds_in_its_own_thread_only() -> None:
    seen = []
    with use_backend("reference"):
        thread = threading.Thread(target=lambda: seen.append(select("bias_act", X)))
        thread.start()
        thread.join()
    assert seen == ["cpp"]


def test_backward_keeps_the_backend_of_its_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = registry.launcher

    def spy(kernel: str, backend: str):  # type: ignore[no-untyped-def]
        calls.append((kernel, backend))
        return real(kernel, backend)

    monkeypatch.setattr(sys.modules["fastgan.ops.bias_act"], "launcher", spy)
    x = torch.ones(2, 3, requires_grad=True)
    with use_backend("cpp"):
        y = ops.bias_act(x)
    with use_backend("reference"):
        y.sum().backward()
    assert calls == [("bias_act", "cpp"), ("bias_act_grad", "cpp")]


def test_explicit_backend_that_cannot_run_raises_with_every_reason() -> None:
    with pytest.raises(BackendUnavailableError) as caught:
        ops.bias_act(torch.zeros(1, 1, device="meta"), backend="cpp")
    message = str(caught.value)
    assert "backend 'cpp' cannot run torch.float32 on meta" in message
    assert "cpp: serves CPU tensors, not meta" in message
    assert "cuda: " in message
    assert "triton: " in message
    assert "reference: available" in message


@pytest.fixture
def triton_backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The adapter of Triton on a machine with Triton, a GPU and a compiler, not interpreted, and
    without the CUDA extension."""
    from fastgan.backends import cuda, triton

    monkeypatch.setitem(sys.modules, "fastgan._C_cuda", None)  # an import of it fails
    monkeypatch.setattr(sys.modules["fastgan.dispatch.select"], "_resolved", {})
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(triton, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(triton.shutil, "which", lambda name: f"/usr/bin/{name}")
    for adapter in (cuda, triton):
        adapter.why_unavailable.cache_clear()
    yield triton
    for adapter in (cuda, triton):
        adapter.why_unavailable.cache_clear()


def test_triton_serves_cuda_tensors_and_no_others(triton_backend: ModuleType) -> None:
    assert triton_backend.why_unavailable() is None
    for op in registry.OPS:
        call = OpCall(op, "cuda", torch.float16)
        assert registry.why_not("triton", call) is None
        assert _automatic(call) == "triton"
        why = registry.why_not("triton", OpCall(op, "cpu", torch.float16))
        assert why == "serves CUDA tensors, not cpu"
    wrong = OpCall("bias_act", "cuda", torch.float8_e5m2)
    assert "not torch.float8_e5m2" in str(registry.why_not("triton", wrong))


@pytest.mark.parametrize(
    ("owner", "name", "value", "reason"),
    [
        ("adapter", "find_spec", lambda name: None, "triton is not installed"),
        ("cuda", "is_available", lambda: False, "no CUDA device"),
        ("shutil", "which", lambda name: None, "no C compiler found"),
    ],
)
def test_triton_says_what_it_misses(
    owner: str, name: str, value: object, reason: str, triton_backend: ModuleType,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    place = {"adapter": triton_backend, "cuda": torch.cuda, "shutil": triton_backend.shutil}[owner]
    monkeypatch.setattr(place, name, value)
    triton_backend.why_unavailable.cache_clear()
    assert str(triton_backend.why_unavailable()).startswith(reason)
    assert _automatic(OpCall("bias_act", "cuda", torch.float32)) == "reference"


def test_interpreted_triton_serves_cpu_tensors_only_by_name(
    triton_backend: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    triton_backend.why_unavailable.cache_clear()
    assert select("bias_act", X, "triton") == "triton"
    assert select("bias_act", X) == "cpp"
    assert _automatic(OpCall("bias_act", "cuda", torch.float32)) == "reference"


def test_triton_has_every_launcher_that_cpp_has(triton_backend: ModuleType) -> None:
    kernels = {
        name: operator
        for name in dir(torch.ops.fastgan_cpp)
        if name.startswith(("bias_act", "upfirdn2d", "modulated_conv2d", "spectral_norm"))
        and (operator := getattr(torch.ops.fastgan_cpp, name)) is not None
    }
    optional = {"bias_act_signs", "bias_act_signs_grad"}  # the op asks has_kernel for these
    assert set(kernels) - optional <= set(triton_backend.LAUNCHERS)
    for name in set(kernels) & set(triton_backend.LAUNCHERS):
        operator = kernels[name]
        launcher = inspect.signature(triton_backend.launcher(name))
        schema = operator.default._schema
        assert list(launcher.parameters) == [argument.name for argument in schema.arguments]


@pytest.fixture
def cuda_backend(triton_backend: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The adapter of CUDA where its extension is built, with the kernels of two ops, and where
    Triton would run as well."""
    from fastgan.backends import cuda

    kernels = SimpleNamespace(bias_act=None, upfirdn2d=None)
    monkeypatch.setattr(torch.ops, "fastgan_cuda", kernels, raising=False)
    monkeypatch.setitem(sys.modules, "fastgan._C_cuda", ModuleType("fastgan._C_cuda"))
    cuda.why_unavailable.cache_clear()
    sys.modules["fastgan.dispatch.select"]._log_once.cache_clear()
    return cuda


def test_cuda_comes_before_triton(cuda_backend: ModuleType) -> None:
    assert cuda_backend.why_unavailable() is None
    for op in ("bias_act", "upfirdn2d", "conv2d_resample"):
        assert _automatic(OpCall(op, "cuda", torch.float16)) == "cuda"
    why = registry.why_not("cuda", OpCall("bias_act", "cpu", torch.float32))
    assert why == "serves CUDA tensors, not cpu"
    why = registry.why_not("cuda", OpCall("bias_act", "cuda", torch.int32))
    assert "not torch.int32" in str(why)


def test_an_op_that_cuda_lacks_is_served_by_triton(
    cuda_backend: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="fastgan"):
        for _ in range(2):
            assert _automatic(OpCall("spectral_norm", "cuda", torch.float32)) == "triton"
    assert [record.message for record in caplog.records] == [
        "spectral_norm: backend cuda is not used: the extension fastgan._C_cuda has no kernel "
        "spectral_norm: it is older than fastgan; rebuild"
    ]


def test_cuda_says_what_it_misses(
    cuda_backend: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cuda_backend.why_unavailable() == "no CUDA device"
    cuda_backend.why_unavailable.cache_clear()
    monkeypatch.setitem(sys.modules, "fastgan._C_cuda", None)
    reason = str(cuda_backend.why_unavailable())
    assert "fastgan._C_cuda does not load" in reason
    assert "FASTGAN_CUDA=1 pip install --no-build-isolation ." in reason


def test_missing_extension_falls_back_once_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from fastgan.backends import cpp

    module = sys.modules["fastgan.dispatch.select"]
    monkeypatch.setattr(module, "_resolved", {})
    monkeypatch.setattr(cpp, "why_unavailable", lambda: "not built")
    module._log_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger="fastgan"):
        for _ in range(3):
            assert ops.bias_act(torch.ones(1, 1)).item() > 0
    assert [record.message for record in caplog.records] == [
        "bias_act: backend cpp is not used: not built"
    ]
    with pytest.raises(BackendUnavailableError, match="cpp: not built"):
        ops.bias_act(X, backend="cpp")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu", "no backend named 'gpu'; the backends are"),
        ("bias_act=gpu", "no backend named 'gpu'"),
        ("relu=cpp", "no op named 'relu'; the ops are"),
    ],
)
def test_unknown_names_are_refused(
    text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=message), use_backend(text):
        pass
    monkeypatch.setenv("FASTGAN_BACKEND", text)
    with pytest.raises(ConfigError, match="FASTGAN_BACKEND"):
        ops.bias_act(X)


def test_request_syntax() -> None:
    assert parse_request("cpp", "test") == {"*": "cpp"}
    assert parse_request(" bias_act=cpp, upfirdn2d=reference ", "test") == {
        "bias_act": "cpp",
        "upfirdn2d": "reference",
    }


def test_integer_tensors_are_refused_by_every_backend() -> None:
    with pytest.raises(TypeError, match="floating point"):
        ops.bias_act(torch.zeros(1, 1, dtype=torch.int64))
