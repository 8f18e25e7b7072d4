"""The CUDA kernels under the sanitizers: nothing to report. test_planted_bugs.py shows that they
would report."""

import subprocess

import pytest

from tests.emulation import build
from tests.require import missing

DRIVERS = sorted(path.name for path in build.HERE.glob("driver_*.cpp"))


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("mode", ["asan", "tsan"])
def test_no_reports(mode, driver, monkeypatch):
    reason = build.why_no_sanitizer(mode)
    if reason is not None:
        missing("sanitizers", reason)
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")  # needs ptrace, which containers forbid
    program = build.program(driver, mode)
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for report in ("ERROR: AddressSanitizer", "runtime error", "WARNING: ThreadSanitizer"):
        assert report not in done.stderr, done.stderr
    assert " 0 elements not written" in done.stdout
