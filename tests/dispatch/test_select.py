"""Which backend serves a call, and what the refusals say."""

import logging
import sys
import threading

import pytest
import torch

from fastgan import BackendUnavailableError, ConfigError, ops, use_backend
from fastgan.dispatch import registry, select
from fastgan.dispatch.select import parse_request

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
    assert "reference: available" in message


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
