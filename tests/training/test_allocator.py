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
