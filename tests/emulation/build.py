"""Compiles CUDA sources with g++ for the emulator; results are kept by a hash of what they are of.

The cache is build/emulation, or FASTGAN_EMULATION_CACHE.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
HEADERS = ("csrc/common/*.h", "csrc/cuda/*.h", "csrc/cuda/*.cuh", "tests/emulation/*.h")

COMMON = ["-std=c++20", "-g", "-DFASTGAN_HOST_SHIM", "-Wall", "-Wno-unknown-pragmas"]
MODES = {
    "plain": ["-O1"],
    "asan": ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "tsan": ["-O1", "-fsanitize=thread"],
    # The compiler announces every access, and traffic.h hears of them in the sanitizer's place.
    "counted": ["-O1", "-fsanitize=thread", "-U__SANITIZE_THREAD__"],
}
NEEDED = ("cuda_fp16.h", "cuda_bf16.h", "vector_types.h", "driver_types.h")


@functools.cache
def cuda_include() -> Path | None:
    """The folder of the CUDA headers, which the CUDA toolkit and nvidia-* wheels both have."""
    folders = [Path("/usr/local/cuda/include")]
    if os.environ.get("CUDA_HOME"):
        folders.insert(0, Path(os.environ["CUDA_HOME"]) / "include")
    wheels = sorted(Path(sysconfig.get_paths()["purelib"]).glob("nvidia/*/include"))
    for folder in (*folders, *wheels):
        if all((folder / name).is_file() for name in NEEDED):
            return folder
    return None


def why_unavailable() -> str | None:
    """What is missing to build for the emulator, or None."""
    if shutil.which("g++") is None:
        return "g++ is missing"
    if cuda_include() is None:
        return (
            f"the CUDA headers {', '.join(NEEDED)} are missing: neither CUDA_HOME, /usr/local/cuda "
            "nor an nvidia-* wheel has them"
        )
    return None


@functools.cache
def why_no_sanitizer(mode: str) -> str | None:
    """What is missing to link and start a program in a sanitizer's mode, or None."""
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "probe"
        link = ["g++", "-x", "c++", "-", *MODES[mode], "-o", str(probe)]
        for command in (link, [str(probe)]):
            done = subprocess.run(command, input="int main() {}", text=True, capture_output=True)
            if done.returncode != 0:
                return f"g++ {' '.join(MODES[mode])} does not work here: {done.stderr}"
    return None


def library(source: str) -> Path:
    """The shared library of a source file of this folder, to be loaded by ctypes."""
    return _build(source, "plain", ("-shared", "-fPIC"))


def counted_library(source: str) -> Path:
    """The shared library of a source file that includes traffic.h, without a sanitizer's."""
    compiled = _build(source, "counted", ("-c", "-fPIC"))
    result = compiled.with_name(f"{compiled.name}.so")
    with (compiled.parent / f"{source}-counted.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            _compile(["g++", "-shared", "-Wl,-z,defs", "-x", "none", str(compiled)], result)
    return result


def program(source: str, mode: str, defines: tuple[str, ...] = ()) -> Path:
    """The program of a source file of this folder, with macros defined."""
    return _build(source, mode, tuple(f"-D{name}" for name in defines))


def _build(source: str, mode: str, extra: tuple[str, ...]) -> Path:
    include = ["-isystem", str(cuda_include()), f"-I{ROOT / 'csrc'}", f"-I{HERE}"]
    flags = [*COMMON, *MODES[mode], *extra, *include]
    result = _cache() / f"{Path(source).stem}-{mode}-{_key(source, flags)}"
    result.parent.mkdir(parents=True, exist_ok=True)
    with (result.parent / f"{source}-{mode}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes want the same
        if not result.exists():
            _compile(["g++", *flags, str(HERE / source)], result)
    return result


def _compile(command: list[str], result: Path) -> None:
    partial = result.with_suffix(".partial")  # renamed when complete, or a stop would leave half
    done = subprocess.run([*command, "-o", str(partial)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    partial.rename(result)


def _key(source: str, flags: list[str]) -> str:
    version = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True)
    digest = hashlib.sha256(repr((flags, version.stdout)).encode())
    for path in (HERE / source, *_headers()):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _headers() -> Iterator[Path]:
    for pattern in HEADERS:
        yield from sorted(ROOT.glob(pattern))


def _cache() -> Path:
    return Path(os.environ.get("FASTGAN_EMULATION_CACHE", ROOT / "build" / "emulation"))
