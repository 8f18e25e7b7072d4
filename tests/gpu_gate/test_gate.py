"""The compile gate: every csrc/cuda/*.cu compiles, nothing spills, and registers, shared memory and
wide accesses are what the baseline says. Nothing here runs a kernel."""

from pathlib import Path

import pytest

from tests.gpu_gate import baseline, measure, toolchain

REFRESH = "if it is intended: python -m tests.gpu_gate.baseline"


def regressions(now: measure.Usage, before: measure.Usage, same_compiler: bool) -> list[str]:
    """Where `now` differs from `before`. Another compiler may take an eighth more registers and
    unroll differently, but not lose wide accesses or tensor cores, or gain shared memory."""
    if same_compiler:
        return [f"{key}: {before[key]} -> {now[key]}" for key in before if now[key] != before[key]]
    wrong = []
    if now["registers"] > before["registers"] * 9 / 8:
        wrong.append(f"registers: {before['registers']} -> {now['registers']}")
    if now["shared"] > before["shared"]:
        wrong.append(f"shared: {before['shared']} -> {now['shared']}")
    for key in ("wide_loads", "wide_stores", "tensor_core"):
        if before.get(key, 0) > 0 and now[key] == 0:
            wrong.append(f"{key}: {before[key]} -> 0")
    return wrong


def test_there_are_kernels_to_measure():
    assert measure.SOURCES


@pytest.mark.parametrize("arch", measure.ARCHITECTURES)
@pytest.mark.parametrize("source", measure.SOURCES, ids=lambda path: path.stem)
def test_kernels_stay_in_registers(source, arch):
    kernels = measure.usage(source, arch)
    assert kernels, f"{source.name} instantiates no kernel"
    local = ("stack", "local_loads", "local_stores")
    wrong = {name: used for name, used in kernels.items() if any(used[key] for key in local)}
    assert not wrong, f"these use local memory: {wrong}"


@pytest.mark.parametrize("arch", measure.ARCHITECTURES)
@pytest.mark.parametrize("source", measure.SOURCES, ids=lambda path: path.stem)
def test_usage_is_that_of_the_baseline(source, arch):
    assert baseline.path_of(source).is_file(), f"no baseline for {source.name}; {REFRESH}"
    record = baseline.read(source)
    now, before = measure.usage(source, arch), record[arch]
    assert set(now) <= set(before), f"other kernels than in the baseline; {REFRESH}"
    same_compiler = record["nvcc"] == toolchain.version()
    wrong = {name: regressions(now[name], before[name], same_compiler) for name in now}
    wrong = {name: lines for name, lines in wrong.items() if lines}
    assert not wrong, f"{wrong}; {REFRESH}"


@pytest.mark.parametrize("arch", measure.ARCHITECTURES)
def test_continuous_integration_compiles_few_kernels_but_of_every_file(arch):
    counts = {source.stem: len(measure.usage(source, arch)) for source in measure.SOURCES}
    assert sum(counts.values()) <= measure.MOST_KERNELS, counts
    records = {source.stem: baseline.read(source) for source in measure.SOURCES}
    for stem, record in records.items():
        assert set(measure.ALL_ARCHITECTURES) <= set(record), f"{stem}: {REFRESH}"
        assert len(record[arch]) >= counts[stem]


@pytest.mark.parametrize("arch", measure.ARCHITECTURES)
def test_modulated_conv2d_has_the_instructions_it_claims(arch):
    kernels = measure.usage(measure.ROOT / "csrc" / "cuda" / "modulated_conv2d.cu", arch)
    on_tensor_cores = [name for name in kernels if "wmma" in name]
    assert len(on_tensor_cores) == 6  # float by TF32 and half: 1x1, 3x3, 3x3 upsampled
    for name, used in kernels.items():
        assert (used["tensor_core"] > 0) == (name in on_tensor_cores), name
        assert used["wide_loads"] > 0, name


def test_no_baseline_without_a_source():
    stale = {path.stem for path in baseline.FOLDER.glob("*.json")}
    assert stale <= {source.stem for source in measure.SOURCES}


# The gate itself: each thing it looks for, planted.


def write(folder: Path, body: str) -> Path:
    source = folder / "planted.cu"
    source.write_text(body)
    return source


def test_a_spilling_kernel_does_not_compile(tmp_path):
    source = write(
        tmp_path,
        """__global__ void __launch_bounds__(1024, 2) spills(float* x) {
             float a[96];
             #pragma unroll
             for (int i = 0; i < 96; ++i) a[i] = x[threadIdx.x + 1024 * i];
             __syncthreads();
             #pragma unroll
             for (int i = 0; i < 96; ++i) x[threadIdx.x + 1024 * (95 - i)] = a[i] * a[95 - i];
           }""",
    )
    with pytest.raises(measure.CompileError, match="spill"):
        measure.compile_cubin(source, "sm_80", tmp_path / "planted.cubin")


def test_what_is_counted(tmp_path):
    source = write(
        tmp_path,
        """__global__ void indexed(float* x, int n) {
             float a[40];
             for (int i = 0; i < 40; ++i) a[(i * n) % 40] = x[i];
             x[threadIdx.x] = a[threadIdx.x % 40];
           }
           namespace room {
           template <int kSize> __global__ void wide(const float4* __restrict__ x, float4* y) {
             __shared__ float4 tile[kSize];
             tile[threadIdx.x] = x[threadIdx.x];
             __syncthreads();
             y[threadIdx.x] = tile[threadIdx.x ^ 1];
           }
           template __global__ void wide<64>(const float4*, float4*);
           }""",
    )
    kernels = measure.usage(source, "sm_80")
    assert set(kernels) == {"indexed", "wide<64>"}
    indexed, wide = kernels["indexed"], kernels["wide<64>"]
    assert indexed["stack"] >= 160
    assert indexed["local_loads"] > 0
    assert indexed["local_stores"] > 0
    assert indexed["wide_loads"] == indexed["wide_stores"] == 0
    assert wide["shared"] == 1024
    assert wide["wide_loads"] == wide["wide_stores"] == 1
    assert wide["stack"] == wide["local_loads"] == wide["local_stores"] == 0


def test_regressions_are_seen():
    before = {"registers": 40, "stack": 0, "shared": 512, "wide_loads": 4, "wide_stores": 4}
    before["tensor_core"] = 8
    assert regressions(before, before, same_compiler=True) == []
    assert regressions(before, before, same_compiler=False) == []
    worse = {"registers": 46, "shared": 513, "wide_loads": 0, "wide_stores": 0, "tensor_core": 0}
    for key, value in worse.items():
        for same_compiler in (True, False):
            assert len(regressions({**before, key: value}, before, same_compiler)) == 1
    assert regressions({**before, "registers": 44}, before, same_compiler=False) == []
    assert regressions({**before, "registers": 39}, before, same_compiler=True)
