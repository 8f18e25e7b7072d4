"""The tests of the tests: each planted bug is caught, and the same code without it is silent."""

import subprocess

import pytest

from tests.emulation import build
from tests.require import missing

# macro: how it is compiled, what the report must name
PLANTS = {
    "PLANT_OUT_OF_BOUNDS": ("asan", "heap-buffer-overflow"),
    "PLANT_MISALIGNED_LOAD": ("asan", "misaligned address"),
    "PLANT_MISSING_BARRIER": ("tsan", "data race"),
    "PLANT_WRITE_AFTER_READ": ("tsan", "data race"),
    "PLANT_CROSS_BLOCK_RACE": ("tsan", "data race"),
    "PLANT_DIVERGENT_BARRIER": ("plain", "divergent __syncthreads"),
    "PLANT_EXITED_LANES": ("plain", "names exited lanes"),
    "PLANT_TRANSPOSED_FRAGMENT": ("plain", "the product of fragments is wrong"),
    "PLANT_MISALIGNED_FRAGMENT": ("plain", "a fragment's pointer is not aligned to 32 bytes"),
    "PLANT_DIVERGENT_FRAGMENT": ("plain", "names exited lanes"),
}
REFUSED = {
    "threads": "illegal number of threads",
    "grid_y": "grid too large",
    "grid_z": "grid too large",
    "empty": "empty grid",
    "shared": "more than 48 KiB of shared memory",
}


def run(mode, *defines, arguments=()):
    if mode != "plain" and (reason := build.why_no_sanitizer(mode)) is not None:
        missing("sanitizers", reason)
    program = build.program("plants.cpp", mode, defines)
    return subprocess.run([program, *arguments], capture_output=True, text=True)


@pytest.fixture(autouse=True)
def _no_leak_check(monkeypatch):
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")  # needs ptrace, which containers forbid


@pytest.mark.parametrize("mode", ["plain", "asan", "tsan"])
def test_clean_kernel_is_silent(mode):
    done = run(mode)
    assert done.returncode == 0, done.stderr
    assert not any(report in done.stderr for _, report in PLANTS.values()), done.stderr


@pytest.mark.parametrize("order", ["rev", "1", "2"])
def test_clean_kernel_in_other_orders(order, monkeypatch):
    monkeypatch.setenv("CUDA_SHIM_ORDER", order)
    assert run("plain").returncode == 0


@pytest.mark.parametrize("macro", PLANTS)
def test_planted_bug_is_caught(macro):
    mode, report = PLANTS[macro]
    done = run(mode, macro)
    assert done.returncode != 0
    assert report in done.stderr
    assert "plants.cpp" in done.stderr or "  line " in done.stderr, "the report names no line"


@pytest.mark.parametrize("launch", REFUSED)
def test_launch_that_a_gpu_would_refuse(launch):
    done = run("plain", arguments=[launch])
    assert done.returncode != 0
    assert REFUSED[launch] in done.stderr
