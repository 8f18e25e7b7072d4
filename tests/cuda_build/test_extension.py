"""The CUDA extension as it is built and linked: it loads, registers what it should, and traces.
What its kernels compute is for tests/emulation; here they run only where a GPU is."""

import inspect
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from fastgan import BackendUnavailableError, ops
from fastgan.backends import triton
from fastgan.dispatch import probe, registry, select
from tests.cases import IMAGE_SHAPES, LAYOUTS, images

try:
    import fastgan._C
    import fastgan._C_cuda  # noqa: F401
except ImportError as error:
    if "cuda" in os.environ.get("FASTGAN_REQUIRE", "").split(","):
        raise
    reason = f"{error} (torch {torch.__version__}); `make test-cuda-build` builds both extensions"
    pytest.skip(reason, allow_module_level=True)

KERNELS = sorted(triton.LAUNCHERS)
SHARED = [name for name in KERNELS if hasattr(torch.ops.fastgan_cpp, name)]
FUSED = sorted(set(KERNELS) - set(SHARED))  # the C++ backend composes these
GROUPED = ["spectral_norm_group", "spectral_norm_group_grad"]  # of CUDA alone
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def library() -> str:
    spec = find_spec("fastgan._C_cuda")
    assert spec is not None
    assert spec.origin is not None
    return spec.origin


def calls(x: Tensor) -> dict[str, tuple]:
    """Arguments of every operator for images like x, but for the last one, the backend."""
    channels = x.shape[1]
    bias, scale = x.new_ones(channels), x.new_ones(x.shape[:2]).to(torch.float32)
    noise = scale.new_ones(x.shape[0], 1, *x.shape[2:])
    taps = x.new_ones(4, 4).to(torch.float32)
    named = ("swish", 0.2, 1.0, 0.5)
    act, factors = (1, *named), scale.new_ones(channels)
    u, v = x.new_ones(channels), x.new_ones(x[:, :1].numel())
    return {
        "bias_act": (x, bias, *act),
        "bias_act_grad": (x, x, bias, *act, False, True),
        "bias_act_grad2": (x, x, x, bias, *act),
        "upfirdn2d": (x, taps, [2, 2], [1, 1], [2, 1, 2, 1], False, 4.0),
        "modulated_conv2d_fused": (
            x,
            x.new_ones(4, channels, 3, 3),
            scale,
            None,
            noise,
            None,
            None,
            1,
            [1, 1, 1, 1],
            "lrelu",
            0.2,
            1.0,
            -1.0,
            False,
        ),
        "modulated_conv2d_scale": (x, scale, noise),
        "modulated_conv2d_scale_grad": (x, x, scale, True),
        "noise_bias_act": (x, noise, bias, *named),
        "minibatch_std": (x, 1, 1),
        "minibatch_std_grad": (torch.cat([x, x[:, :1]], 1), x, 1, 1),
        "normalize_act": (x, factors, None, None, None, "batch", 1e-5, *named),
        "normalize_act_grad": (
            *(x, x, factors, None, factors, factors, False, "batch", 1e-5),
            *named,
        ),
        "spectral_norm": (x, u, 1, 1e-12, 1),
        "spectral_norm_grad": (x, x.new_ones(()), x, x.new_ones(()), u, v, 1),
        "spectral_norm_group": ([x, x], [u, u], 1, 1e-12, [1, 1]),
        "spectral_norm_group_grad": (
            *([x, x], [x.new_ones(())] * 2, [x, x], [x.new_ones(())] * 2, [u, u], [v, v], [1, 1]),
        ),
    }


def like_on_cuda(x: Tensor) -> Tensor:
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="cuda")


def test_importing_needs_no_gpu():
    code = "import torch, fastgan, fastgan._C_cuda; print(torch.version.cuda)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.strip() != "None", "this torch is a CPU build"


def is_registered_for_cuda_alone(name: str) -> bool:
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    return has(f"fastgan_cuda::{name}", "CUDA") and not has(f"fastgan_cuda::{name}", "CPU")


@pytest.mark.parametrize("name", FUSED)
def test_fused_operators_have_the_arguments_of_triton(name):
    arguments = getattr(torch.ops.fastgan_cuda, name).default._schema.arguments
    expected = inspect.signature(triton.launcher(name)).parameters
    assert [argument.name for argument in arguments] == list(expected)
    assert is_registered_for_cuda_alone(name)


@pytest.mark.parametrize("name", GROUPED)
def test_operators_of_cuda_alone(name):
    """They take what the operators of fastgan.ops take, but for the backend."""
    assert is_registered_for_cuda_alone(name)
    assert registry.backend("cuda").has_kernel(name)
    assert not any(registry.has_kernel(name, other) for other in ("reference", "cpp", "triton"))
    ours, theirs = (getattr(space, name) for space in (torch.ops.fastgan_cuda, torch.ops.fastgan))
    expected, found = theirs.default._schema, ours.default._schema
    assert [(a.name, str(a.type)) for a in found.arguments] == [
        (a.name, str(a.type)) for a in expected.arguments[:-1]
    ]
    assert [str(r.type) for r in found.returns] == [str(r.type) for r in expected.returns]


@pytest.mark.parametrize("name", SHARED)
def test_operators_have_the_schemas_of_the_cpu(name):
    cpu, cuda = (getattr(torch.ops, space) for space in ("fastgan_cpp", "fastgan_cuda"))
    schema = str(getattr(cuda, name).default._schema)
    assert schema == str(getattr(cpu, name).default._schema).replace("fastgan_cpp", "fastgan_cuda")
    assert is_registered_for_cuda_alone(name)


def test_the_library_needs_the_stable_abi_and_nothing_else_of_torch():
    if shutil.which("nm") is None:
        pytest.skip("nm is missing")
    listing = ["nm", "-D", "--undefined-only", library()]
    symbols = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split()
    assert "aoti_torch_get_current_cuda_stream" in symbols
    unstable = [name for name in symbols if re.match(r"_ZN?K?(2at|3c10|5torch)", name)]
    assert not unstable


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", IMAGE_SHAPES)
def test_fake_cuda_tensors_give_what_the_cpu_gives(name, layout, shape):
    x = images(shape, layout, torch.float32)
    operator = getattr(torch.ops.fastgan, name)
    real = operator(*calls(x)[name], "cpp")
    with FakeTensorMode():
        traced = operator(*calls(like_on_cuda(x))[name], "cuda")
    real, traced = ((t,) if isinstance(t, Tensor) else t for t in (real, traced))
    for expected, found in zip(real, traced, strict=True):
        assert found.device.type == "cuda"
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_fused_convolution_traces(layout):
    x = images("vector_width", layout, torch.float32)
    with FakeTensorMode():
        arguments = calls(like_on_cuda(x))["modulated_conv2d_fused"]
        y = torch.ops.fastgan.modulated_conv2d_fused(*arguments, "cuda")
    assert y.shape == (1, 4, 8, 8)
    assert (y.device.type, y.dtype) == ("cuda", torch.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", GROUPED)
def test_groups_trace_like_single_weights(name, layout):
    with FakeTensorMode():
        x = like_on_cuda(images("small", layout, torch.float32))
        single = name.replace("_group", "")
        alone = getattr(torch.ops.fastgan, single)(*calls(x)[single], "cuda")
        group = getattr(torch.ops.fastgan, name)(*calls(x)[name], "cuda")
        alone, group = ([alone], [group]) if isinstance(alone, Tensor) else (alone, group)
        for expected, results in zip(alone, group, strict=True):
            assert len(results) == 2
            for found in results:
                assert (found.shape, found.stride()) == (expected.shape, expected.stride())
                assert (found.dtype, found.device) == (expected.dtype, expected.device)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("name", KERNELS)
def test_layouts_are_kept_when_traced(name, layout):
    with FakeTensorMode():
        x = like_on_cuda(images("small", layout, torch.float16))
        y = getattr(torch.ops.fastgan, name)(*calls(x)[name], "cuda")
        y = y if isinstance(y, Tensor) else y[0]
        memory_format = getattr(torch, f"{layout}_format" if layout == "contiguous" else layout)
        assert y.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.parametrize(
    ("backend", "device"), [("cpp", "cpu"), pytest.param("cuda", "cuda", marks=NO_GPU)]
)
def test_opcheck(name, backend, device):
    x = images("small", "channels_last", torch.float32).to(device)
    torch.library.opcheck(getattr(torch.ops.fastgan, name).default, (*calls(x)[name], backend))


@pytest.mark.parametrize("name", [*KERNELS, *GROUPED])
def test_cpu_tensors_are_refused(name):
    x = images("small", "contiguous", torch.float32)
    with pytest.raises(NotImplementedError, match=f"fastgan_cuda::{name}.*CPU"):
        getattr(torch.ops.fastgan_cuda, name)(*calls(x)[name])


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_every_call_says_so():
    assert registry.backend("cuda").why_unavailable() == "no CUDA device"
    assert {row["cuda"] for row in probe.backend_table().values()} == {"no CUDA device"}
    with pytest.raises(BackendUnavailableError, match="cuda: no CUDA device"):
        ops.bias_act(torch.zeros(1, 1), backend="cuda")
    with FakeTensorMode():
        assert select("bias_act", torch.empty(1, device="cuda")) == "reference"
    with pytest.raises(RuntimeError, match=r"NVIDIA driver"):
        torch.zeros(1, device="cuda")
