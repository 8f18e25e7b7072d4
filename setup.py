"""Builds `fastgan._C` when a C++ compiler is there, `fastgan._C_cuda` when nvcc and a CUDA build of
torch are too, and installs without them when not.

FASTGAN_REQUIRE_EXT=1 turns a failed build of the C++ kernels into an error, FASTGAN_CUDA=1 one of
the CUDA kernels, which FASTGAN_CUDA=0 leaves out. FASTGAN_SKIP_EXT=1 installs without trying, for
`make`, which builds in place afterwards.
"""

import importlib.util
import os
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup

ROOT = Path(__file__).resolve().parent
REQUIRED = {
    "fastgan._C": "FASTGAN_REQUIRE_EXT",
    "fastgan._engine": "FASTGAN_REQUIRE_EXT",
    "fastgan._C_cuda": "FASTGAN_CUDA",
}
LOST = {
    "fastgan._engine": "Synthesis engine not built ({}); synthesis on the CPU is slower.",
    "fastgan._C": "C++ kernels not built ({}); the torch reference backend serves.",
    "fastgan._C_cuda": "CUDA kernels not built ({}); Triton or the torch reference serves GPUs.",
}


def load_build():
    spec = importlib.util.spec_from_file_location("_fastgan_build", ROOT / "fastgan" / "_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def skip(name: str, reason: str) -> None:
    message = f"fastgan: {LOST[name].format(reason)}"
    if os.environ.get(REQUIRED[name]) == "1":
        raise SystemExit(f"{message} {REQUIRED[name]}=1 makes this an error.")
    print(message, file=sys.stderr)


def first_line(error: BaseException) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]


def extension_arguments() -> dict:
    if os.environ.get("FASTGAN_SKIP_EXT") == "1":
        return {}
    build = load_build()
    try:
        import torch

        with_cuda = build.prepare_cuda(torch.version.cuda)  # before the next line, which looks
        from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension
    except ImportError as error:
        reason = f"torch cannot be imported: {error}; use --no-build-isolation"
        skip("fastgan._C", reason)
        if os.environ.get("FASTGAN_CUDA") == "1":
            skip("fastgan._C_cuda", reason)
        return {}

    class OptionalBuild(BuildExtension):
        """Any compiler failure is survivable, and costs only the extension that it is in."""

        def build_extensions(self):
            self.failed = []
            for name in REQUIRED:  # older kernels must not serve newer Python
                if name not in [extension.name for extension in self.extensions]:
                    Path(self.get_ext_fullpath(name)).unlink(missing_ok=True)
            # One by one: torch checks the compilers of all before it builds the first.
            wanted = list(self.extensions)
            for self.extensions in [[extension] for extension in wanted]:
                try:
                    super().build_extensions()
                except (Exception, SystemExit) as error:
                    self.failed.append((self.extensions[0], error))
            self.extensions = wanted
            for extension, error in self.failed:
                Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
                self.extensions.remove(extension)
                skip(extension.name, first_line(error))

        def build_extension(self, extension):
            try:
                super().build_extension(extension)
            except (Exception, SystemExit) as error:
                self.failed.append((extension, error))

    def extension(kind, name, sources, headers, flags):
        include = [str(ROOT / "csrc")]
        more = {"depends": headers, "include_dirs": include, "extra_compile_args": flags}
        return kind(f"fastgan.{name}", sources, **more, py_limited_api=True)

    cpu = build.cpu_sources(ROOT), build.cpu_headers(ROOT), {"cxx": build.cpu_flags()}
    extensions = [extension(CppExtension, "_C", *cpu)]
    try:
        extensions.append(engine_extension(build))
    except ImportError as error:
        skip("fastgan._engine", f"{error}; pip install pybind11")
    if with_cuda:
        cuda = build.cuda_sources(ROOT), build.cuda_headers(ROOT), build.cuda_flags()
        extensions.append(extension(CUDAExtension, "_C_cuda", *cuda))
        build.link_runtime(extensions[-1].libraries, extensions[-1].extra_link_args)
    return {"ext_modules": extensions, "cmdclass": {"build_ext": OptionalBuild}}


def engine_extension(build):
    """fastgan._engine: pybind11, one binary per version of Python, no torch."""
    from pybind11 import get_include

    return Extension(
        "fastgan._engine",
        build.engine_sources(ROOT),
        include_dirs=[str(ROOT / "csrc"), get_include()],
        depends=build.cpu_headers(ROOT),
        extra_compile_args={"cxx": build.engine_flags()},
        extra_link_args=build.engine_link_flags(),
        language="c++",
    )


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
