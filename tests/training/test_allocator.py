"""What the commands set of the C library's allocator, and what `fastgan doctor` says of it."""

import os
import subprocess
import sys

import pytest

from fastgan.training import allocator

COUNT = """
import resource, torch
from fastgan.training import keep_freed_memory
if {keep}: assert keep_freed_memory()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def work(): torch.ones(8 << 20)  # 32 MiB, freed at once
for _ in range(3): work()
before = faults()
for _ in range(5): work()
print(faults() - before)
"""


@pytest.mark.skipif(allocator._glibc() is None, reason="the C library is not glibc")
def test_freed_memory_is_used_again_without_a_page_fault():
    counts = []
    for keep in (True, False):
        done = subprocess.run(
            [sys.executable, "-c", COUNT.format(keep=keep)],
            env={**os.environ, "GLIBC_TUNABLES": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        counts.append(int(done.stdout))
    kept, plain = counts
    assert kept < 500
    assert plain > 4 * kept + 2000


HOLES = """
import torch
from fastgan.training.allocator import keep_freed_memory, return_unused_memory
assert keep_freed_memory()
def resident(): return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20
blocks = [torch.ones(1 << 18) for _ in range(256)]  # 1 MiB each
full = resident()
del blocks[::2]  # every hole lies between blocks that stay
kept = resident()
assert return_unused_memory()
print(full - kept, kept - resident(), all(bool((b == 1).all()) for b in blocks))
"""


@pytest.mark.skipif(allocator._glibc() is None, reason="the C library is not glibc")
def test_memory_in_holes_goes_back_to_the_system():
    said = subprocess.run(
        [sys.executable, "-c", HOLES],
        env={**os.environ, "GLIBC_TUNABLES": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert int(said[0]) < 16
    assert int(said[1]) > 100  # MiB, of 128
    assert said[2] == "True"


def test_a_run_returns_memory_at_intervals_where_it_is_kept(monkeypatch):
    now, returned = [0.0], []
    monkeypatch.setattr(allocator.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(allocator, "return_unused_memory", lambda: returned.append(now[0]))
    for kept, expected in ((False, []), (True, [130.0, 250.0])):
        monkeypatch.setattr(allocator, "_kept", kept)
        hook, now[0] = allocator.ReturnMemory(), 0.0
        hook.on_start(None)
        for now[0] in (60.0, 119.0, 130.0, 140.0, 249.0, 250.0):
            hook.on_step(None, {})
        assert returned == expected


@pytest.mark.skipif(allocator._glibc() is None, reason="the C library is not glibc")
def test_the_status_says_what_could_be_set_outside(monkeypatch):
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert "GLIBC_TUNABLES=glibc.malloc.hugetlb=1" in allocator.allocator_status()
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    assert "start it with" not in allocator.allocator_status()
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libtcmalloc_minimal.so.4")
    assert allocator.allocator_status() == "tcmalloc, preloaded"


def test_elsewhere_nothing_is_set(monkeypatch):
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocator.keep_freed_memory() is False
    assert "cannot be set" in allocator.allocator_status()
