"""`fastgan doctor`: its tables, its JSON, and that it notices a kernel that is wrong."""

import json

import pytest
import torch

from fastgan import doctor
from fastgan.cli import main
from fastgan.dispatch import probe, registry


def test_doctor_checks_every_op_on_every_available_backend():
    checks = doctor.self_test()
    table = probe.backend_table()
    expected = {
        (op, name) for op, row in table.items() for name, why in row.items() if why == "available"
    }
    assert {(check.op, check.backend) for check in checks} == expected
    assert all(len(check.errors) == len(doctor.PASSES) for check in checks), checks
    assert all(check.ok for check in checks), checks


def test_doctor_json_is_one_object_with_the_facts(capsys):
    status = main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert status == 0
    assert report["ok"] is True
    assert report["versions"]["torch"] == torch.__version__
    assert set(report["backends"]) == set(registry.OPS)
    assert report["self_test_seconds"] < 60


def test_doctor_tables_name_every_op_and_backend(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in (*registry.OPS, *registry.BACKENDS, *doctor.PASSES))
    assert "FAILED" not in out


def test_doctor_fails_when_a_gradient_is_wrong(capsys, monkeypatch):
    def wrong(w, *, backend):
        y = w * w
        return y if backend == "reference" and w.dtype == torch.float64 else y.detach() + w

    cases = {"bias_act": (wrong, [torch.ones(3)])}
    monkeypatch.setattr(doctor, "_cases", lambda: cases)
    assert main(["doctor"]) == 1
    assert "FAILED" in capsys.readouterr().out


def test_doctor_fails_and_goes_on_when_an_op_raises(capsys, monkeypatch):
    def broken(w, *, backend):
        if w.dtype == torch.float32:
            raise RuntimeError("kernel [broken] here")
        return w * w

    monkeypatch.setattr(doctor, "_cases", lambda: {"bias_act": (broken, [torch.ones(3)])})
    assert main(["doctor"]) == 1
    assert "kernel [broken] here" in capsys.readouterr().out


def test_doctor_counts_nan_as_failure(monkeypatch):
    def nan(w, *, backend):
        return w * (1.0 if w.dtype == torch.float64 else float("nan"))

    monkeypatch.setattr(doctor, "_cases", lambda: {"bias_act": (nan, [torch.ones(3)])})
    report = doctor.examine()
    assert report["ok"] is False
    assert json.loads(json.dumps(report, allow_nan=False))["self_test"][0]["errors"][0] is None


@pytest.mark.parametrize("value", ["nonsense", "bias_act=nonsense", "no_such_op=cpp"])
def test_doctor_reports_an_unknown_backend_in_one_line(value, capsys, monkeypatch):
    monkeypatch.setenv("FASTGAN_BACKEND", value)
    assert main(["doctor"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "FASTGAN_BACKEND" in error
