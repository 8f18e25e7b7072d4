"""Builds `fastgan._C` when a C++ compiler is there, and installs without it when not.

FASTGAN_REQUIRE_EXT=1 turns a failed build into an error; FASTGAN_SKIP_EXT=1 installs without
trying, for `make`, which builds in place afterwards.
"""

import importlib.util
import os
import sys
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
REQUIRED = os.environ.get("FASTGAN_REQUIRE_EXT") == "1"


def load_build():
    spec = importlib.util.spec_from_file_location("_fastgan_build", ROOT / "fastgan" / "_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def skip(reason: str) -> None:
    message = f"fastgan: C++ kernels not built ({reason}); the torch reference backend serves."
    if REQUIRED:
        raise SystemExit(f"{message} FASTGAN_REQUIRE_EXT=1 makes this an error.")
    print(message, file=sys.stderr)


def extension_arguments() -> dict:
    if os.environ.get("FASTGAN_SKIP_EXT") == "1":
        return {}
    try:
        from torch.utils.cpp_extension import BuildExtension, CppExtension
    except ImportError as error:
        skip(f"torch cannot be imported: {error}; use --no-build-isolation")
        return {}

    class OptionalBuild(BuildExtension):
        def build_extensions(self):
            try:
                super().build_extensions()
            except (Exception, SystemExit) as error:  # any compiler failure is survivable
                for extension in self.extensions:  # older kernels must not serve newer Python
                    Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
                skip((str(error).strip() or repr(error)).splitlines()[0])
                self.extensions.clear()

    build = load_build()
    extension = CppExtension(
        "fastgan._C",
        build.cpu_sources(ROOT),
        depends=build.cpu_headers(ROOT),
        include_dirs=[str(ROOT / "csrc")],
        extra_compile_args={"cxx": build.cpu_flags()},
        py_limited_api=True,
    )
    return {"ext_modules": [extension], "cmdclass": {"build_ext": OptionalBuild}}


SUBTREES = {"fastgan.kernels": "kernels", "fastgan.csrc": "csrc"}
SUBTREES |= {
    f"fastgan.csrc.{path.name}": f"csrc/{path.name}"
    for path in (ROOT / "csrc").iterdir()
    if path.is_dir()
}

setup(
    packages=[*find_packages(include=["fastgan", "fastgan.*"]), *SUBTREES],
    package_dir=SUBTREES,
    package_data={name: ["*.h", "*.cpp", "*.cuh", "*.cu"] for name in SUBTREES}
    | {"fastgan": ["py.typed"], "fastgan.assets": ["*"]},
    **extension_arguments(),
)
