"""What the compiler made of the requests for memory in the kernels: it may drop calls of a function
that does nothing else, and no result shows it."""

import importlib.util
import platform
import shutil
import subprocess
from collections import Counter

import pytest

from tests import require


def prefetches(module: str) -> Counter[str]:
    """Count the instructions that ask for memory in a compiled module, by name."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("the names of instructions that the test looks for are those of x86-64")
    if shutil.which("objdump") is None:
        pytest.skip("objdump is missing")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        require.missing("cpp", f"{module} is not built")
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", spec.origin],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    lines = (line for line in listing.splitlines() if "\tprefetch" in line)
    return Counter(line.split("\t")[1].split()[0] for line in lines)


def test_products_ask_for_weights_ahead():
    # One for each product of 1 to 16 rows and 1 to 4 columns at least, in three instruction sets.
    found = prefetches("fastgan._engine")
    assert found["prefetcht1"] > 3 * 40
    assert found["prefetchnta"] > 3 * 40  # past the third-level cache, on CPUs where that is better
