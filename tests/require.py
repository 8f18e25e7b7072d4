"""What must be there: FASTGAN_REQUIRE names what continuous integration has, so that a missing part
fails its tests instead of skipping them."""

import os

import pytest

KNOWN = {"reference", "cpp", "cuda", "triton", "nvcc", "sanitizers"}
REQUIRED = set(filter(None, os.environ.get("FASTGAN_REQUIRE", "").split(",")))


def missing(name: str, reason: str, *, module: bool = False) -> None:
    """Skip the test, or with `module` the file, for want of `name`; fail where it is required."""
    if name in REQUIRED:
        pytest.fail(f"FASTGAN_REQUIRE names {name}, but: {reason}", pytrace=False)
    pytest.skip(reason, allow_module_level=module)
