"""What setup.py decides before it compiles: fastgan/_build.py, with nvcc played by a script."""

import stat
from pathlib import Path

import pytest

from fastgan import _build

ROOT = Path(__file__).resolve().parents[1]
NVCC = """#!/bin/sh
case "$1" in
--version) echo "Cuda compilation tools, release {release}, V{release}.88" ;;
--list-gpu-arch) printf 'compute_75\\ncompute_80\\ncompute_90\\ncompute_100\\n' ;;
--dryrun) echo '#$ TOP={top}' >&2 ;;
esac
"""


@pytest.fixture
def nvcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An nvcc of CUDA 13.0 on PATH, whose toolkit is elsewhere; no variable of ours is set."""
    for name in ("FASTGAN_CUDA", "CUDA_HOME", "TORCH_CUDA_ARCH_LIST"):
        monkeypatch.setenv(name, "")  # so that monkeypatch also takes back what is set later
        monkeypatch.delenv(name)
    toolkit = tmp_path / "cuda" / "bin" / ".."
    (tmp_path / "cuda" / "bin").mkdir(parents=True)
    program = tmp_path / "bin" / "nvcc"
    program.parent.mkdir()
    program.write_text(NVCC.format(release="13.0", top=toolkit))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def test_every_file_is_compiled_and_found():
    lists = (_build.cpu_sources, _build.engine_sources, _build.cuda_sources)
    sources = [Path(path) for sources_of in lists for path in sources_of(ROOT)]
    assert len(set(sources)) == len(sources)
    folders = ("csrc/*.cpp", "csrc/cpu/*.cpp", "csrc/engine/*.cpp", "csrc/cuda_ops/*")
    wanted = {path for pattern in folders for path in ROOT.glob(pattern)}
    assert {ROOT / path for path in sources} == {p for p in wanted if p.suffix != ".h"}
    assert "csrc/cuda/storage.cuh" in _build.cuda_headers(ROOT)
    assert "csrc/cuda_ops/launch.h" in _build.cuda_headers(ROOT)


@pytest.mark.parametrize("wanted", [None, "auto", "1"])
def test_cuda_is_built_where_nvcc_and_a_cuda_torch_are(nvcc, wanted, monkeypatch):
    if wanted:
        monkeypatch.setenv("FASTGAN_CUDA", wanted)
    assert _build.prepare_cuda("13.0")
    environment = _build.os.environ
    assert environment["CUDA_HOME"] == str(nvcc.parents[1] / "cuda")
    assert environment["TORCH_CUDA_ARCH_LIST"] == "8.0;9.0;10.0+PTX"


def test_the_user_names_the_architectures(nvcc, monkeypatch):
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "8.6")
    assert _build.prepare_cuda("13.0")
    assert _build.os.environ["TORCH_CUDA_ARCH_LIST"] == "8.6"


def test_cuda_home_beats_path(nvcc, monkeypatch):
    monkeypatch.setenv("CUDA_HOME", str(nvcc.parents[1] / "nothing"))
    assert _build.find_nvcc() is None
    monkeypatch.setenv("CUDA_HOME", str(nvcc.parents[1]))
    assert _build.find_nvcc() == str(nvcc)


def test_zero_leaves_cuda_out(nvcc, monkeypatch):
    monkeypatch.setenv("FASTGAN_CUDA", "0")
    assert not _build.prepare_cuda("13.0")


def without_nvcc(nvcc, monkeypatch):
    nvcc.unlink()
    monkeypatch.setattr(_build, "find_nvcc", lambda: None)
    return "13.0", "nvcc is missing"


def older_nvcc(nvcc, monkeypatch):
    nvcc.write_text(nvcc.read_text().replace("release 13.0", "release 12.8"))
    return "13.0", "is of CUDA 12, torch is built with CUDA 13.0"


def cpu_torch(nvcc, monkeypatch):
    return None, "this torch is a CPU build"


@pytest.mark.parametrize("missing", [without_nvcc, older_nvcc, cpu_torch])
def test_what_is_missing_is_named(missing, nvcc, monkeypatch, capsys):
    torch_cuda, reason = missing(nvcc, monkeypatch)
    assert not _build.prepare_cuda(torch_cuda)
    said = capsys.readouterr().err
    # A CPU torch needs no word by default: most of them are wanted.
    assert said == "" if torch_cuda is None else reason in said
    monkeypatch.setenv("FASTGAN_CUDA", "1")
    with pytest.raises(SystemExit, match=reason):
        _build.prepare_cuda(torch_cuda)


def test_the_runtime_of_a_wheel_is_linked_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    runtime = tmp_path / "lib" / "libcudart.so.13"
    runtime.parent.mkdir()
    runtime.touch()
    libraries, arguments = ["c10", "cudart"], []
    _build.link_runtime(libraries, arguments)
    assert (libraries, arguments) == (["c10"], [str(runtime)])
    runtime.with_suffix("").touch()  # libcudart.so: a toolkit's
    libraries, arguments = ["c10", "cudart"], []
    _build.link_runtime(libraries, arguments)
    assert (libraries, arguments) == (["c10", "cudart"], [])


def test_nonsense_is_refused(monkeypatch):
    monkeypatch.setenv("FASTGAN_CUDA", "yes")
    with pytest.raises(SystemExit, match="must be auto, 1 or 0, got yes"):
        _build.prepare_cuda("13.0")


def test_the_build_does_not_ask_for_a_gpu():
    for path in (ROOT / "setup.py", ROOT / "fastgan" / "_build.py"):
        assert "is_available" not in path.read_text(encoding="utf-8")


def test_cuda_flags_are_those_of_the_stable_abi():
    for flags in _build.cuda_flags().values():
        assert f"-DTORCH_TARGET_VERSION={_build.TORCH_TARGET}" in flags
