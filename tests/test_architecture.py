"""The walls of the tree: import direction, one file per op in every room, sizes, quiet imports."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastgan
from fastgan.dispatch import registry, spec

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fastgan"

# Imports point downwards. Rooms of one row do not import each other, but for SIBLINGS.
ROWS = [
    {"cli", "commands", "demo", "demo_report", "doctor", "serve", "__main__"},
    {"verify", "roofline"},
    {"recipes"},
    {"training"},
    {"metrics", "synthesis", "convert", "compat"},
    {"networks", "nn", "data"},
    {"ops"},
    {"dispatch"},
    {"backends"},
    {"reference", "kernels"},
]
SIBLINGS = {
    ("__main__", "cli"),
    ("cli", "commands"),
    ("commands", "demo"),
    ("commands", "doctor"),
    ("demo", "demo_report"),
    ("networks", "nn"),
    ("verify", "roofline"),
}
LEAVES = {
    "errors",
    "config",
    "devices",
    "files",
    "assets",
    "_version",
    "_build",
    "timing",
    "dispatch.spec",
}

KERNEL_OPS = ("bias_act", "upfirdn2d", "modulated_conv2d", "spectral_norm")
GPU_OPS = ("noise_bias_act", "minibatch_std", "normalize_act")  # no csrc/cpu: see dispatch/spec.py
COMPOSED_OPS = ("conv2d_resample",)  # built on upfirdn2d and torch's convolution: no kernel
PYTHON_ROOMS = (
    "fastgan/ops/{op}.py",
    "fastgan/reference/{op}.py",
    "tests/ops/test_{op}.py",
    "tests/reference/test_{op}.py",
)
KERNEL_ROOMS = (
    "csrc/cpu/{op}.cpp",
    "csrc/cpu/{op}_kernel.h",
    "csrc/cuda_ops/{op}.cu",
    "kernels/{op}.py",
    "benchmarks/bench_{op}.py",
    "tests/triton/interpreted/test_{op}.py",
)
GPU_ROOMS = (
    "kernels/{op}.py",
    "csrc/cuda/{op}.cu",
    "csrc/cuda/{op}_kernel.cuh",
    "tests/emulation/capi_{op}.cpp",
    "tests/emulation/test_{op}.py",
    "tests/gpu_gate/baselines/{op}.json",
    "tests/triton/interpreted/test_{op}.py",
)

MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_KERNEL_LINES = 300, 40, 80
LONGER_FILES: dict[str, str] = {}  # path: why it may be
LONGER_FUNCTIONS: dict[str, str] = {}  # "path:function": why it may be


def modules():
    """Every module of the package: (dotted name below fastgan, path, syntax tree)."""
    for folder, prefix in ((PACKAGE, ()), (ROOT / "kernels", ("kernels",))):
        for path in sorted(folder.rglob("*.py")):
            parts = (*prefix, *path.relative_to(folder).with_suffix("").parts)
            name = ".".join(part for part in parts if part != "__init__")
            yield name, path, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree, name, is_package):
    """Absolute names imported anywhere in a module, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = ["fastgan", *name.split(".")]
                stem = here[: len(here) - node.level + is_package]
                base = ".".join([*stem, *filter(None, [base])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def project_imports():
    """(importing module, imported module) below fastgan, for every import of the project."""
    known = {name for name, _, _ in modules()}
    for name, path, tree in modules():
        for target in imports(tree, name, path.name == "__init__.py"):
            head, _, rest = target.partition(".")
            if head != "fastgan":
                continue
            while rest and rest not in known:  # a function or class: its module counts
                rest = rest.rpartition(".")[0]
            yield name, rest


def row_of(room):
    return next(index for index, row in enumerate(ROWS) if room in row)


def is_leaf(name):
    return name in LEAVES or name.split(".")[0] in LEAVES


def test_every_module_belongs_to_a_known_room():
    rooms = {name.split(".")[0] for name, _, _ in modules() if name and not is_leaf(name)}
    unknown = rooms - set().union(*ROWS)
    assert not unknown, f"put {unknown} into a row of ROWS, or move the file"


def test_imports_point_downwards():
    wrong = []
    for source, target in project_imports():
        if not source or not target or is_leaf(target):
            continue  # the package's own __init__ gathers public names
        a, b = source.split(".")[0], target.split(".")[0]
        if is_leaf(source) or not (a == b or row_of(a) < row_of(b) or (a, b) in SIBLINGS):
            wrong.append(f"fastgan.{source} imports fastgan.{target}")
    assert not wrong, "\n".join(wrong)


def test_modules_do_not_import_the_package_itself():
    allowed = {"fastgan.__version__"}
    wrong = [
        f"{name}: {target}"
        for name, path, tree in modules()
        for target in imports(tree, name, path.name == "__init__.py")
        if name and target.startswith("fastgan.") and target not in allowed
        if target.split(".")[1] in fastgan.__all__ and not (PACKAGE / target.split(".")[1]).is_dir()
    ]
    assert not wrong, f"import from the module that defines the name: {wrong}"


def test_backends_do_not_know_the_registry():
    wrong = [
        pair
        for pair in project_imports()
        if pair[0].startswith("backends") and pair[1].startswith("dispatch")
        if pair[1] != "dispatch.spec"
    ]
    assert not wrong, wrong


def test_reference_imports_torch_only():
    standard = sys.stdlib_module_names
    wrong = [
        f"{name}: {target}"
        for name, path, tree in modules()
        if name.split(".")[0] == "reference"
        for target in imports(tree, name, path.name == "__init__.py")
        if target.split(".")[0] not in standard
        if target.split(".")[0] != "torch" and not target.startswith("fastgan.reference")
    ]
    assert not wrong, wrong


def test_nothing_in_the_package_can_compile():
    compilers = ("torch.utils.cpp_extension", "setuptools", "distutils", "subprocess")
    wrong = [
        f"{name}: {target}"
        for name, path, tree in modules()
        for target in imports(tree, name, path.name == "__init__.py")
        if target.startswith(compilers)
        if (name, target) != ("_build", "subprocess")  # asks nvcc, for setup.py
    ]
    assert not wrong, wrong
    assert not [pair for pair in project_imports() if pair[1] == "_build"]


def test_the_list_of_ops_is_complete():
    assert {*KERNEL_OPS, *GPU_OPS, *COMPOSED_OPS} == set(registry.OPS)
    assert GPU_OPS == spec.GPU_OPS


@pytest.mark.parametrize("room", PYTHON_ROOMS + KERNEL_ROOMS)
def test_every_op_is_in_every_room(room):
    ops = KERNEL_OPS if room in KERNEL_ROOMS else (*KERNEL_OPS, *GPU_OPS, *COMPOSED_OPS)
    missing = [room.format(op=op) for op in ops if not (ROOT / room.format(op=op)).is_file()]
    assert not missing, missing


@pytest.mark.parametrize("room", GPU_ROOMS)
def test_every_op_for_gpus_alone_is_in_their_rooms(room):
    missing = [room.format(op=op) for op in GPU_OPS if not (ROOT / room.format(op=op)).is_file()]
    assert not missing, missing


def test_only_kernels_and_nothing_else_imports_triton():
    wrong = [
        f"{name}: {target}"
        for name, path, tree in modules()
        for target in imports(tree, name, path.name == "__init__.py")
        if target.split(".")[0] == "triton" and name.split(".")[0] != "kernels"
    ]
    assert not wrong, wrong


def test_kernel_headers_do_not_include_torch():
    wrong = [
        path.name
        for path in (
            *(ROOT / "csrc/cpu").glob("*_kernel.h"),
            *(ROOT / "csrc/cuda").iterdir(),
            *(ROOT / "csrc/engine").iterdir(),
        )
        if any("#include" in line and "torch" in line for line in path.read_text().splitlines())
    ]
    assert not wrong, wrong


def test_operators_include_the_stable_abi_of_torch_and_nothing_else_of_it():
    stable = ("torch/csrc/stable/", "torch/csrc/inductor/aoti_torch/c/", "torch/headeronly/")
    wrong = [
        f"{path.name}: {line}"
        for path in (ROOT / "csrc").rglob("*")
        if path.suffix in (".h", ".cpp", ".cu", ".cuh")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith(("#include <torch", "#include <ATen", "#include <c10"))
        if not line.removeprefix("#include <").startswith(stable)
    ]
    assert not wrong, wrong


def test_every_module_says_what_lives_there():
    missing = [name for name, _, tree in modules() if not ast.get_docstring(tree)]
    assert not missing, missing


def test_files_fit_on_a_few_screens():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for _, path, _ in modules()
    }
    long = {path: n for path, n in lengths.items() if n > MAX_FILE_LINES}
    assert set(long) == set(LONGER_FILES), f"split these, or take them off the list: {long}"


def test_functions_fit_on_a_screen():
    long = {}
    for _, path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = code_lines(node)
                if lines > (MAX_KERNEL_LINES if is_kernel(node) else MAX_FUNCTION_LINES):
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = lines
    assert set(long) == set(LONGER_FUNCTIONS), f"split these, or take them off the list: {long}"


def is_kernel(node):
    """Whether a function is compiled by Triton."""
    return any(ast.unparse(decorator) == "triton.jit" for decorator in node.decorator_list)


def code_lines(node):
    """Lines of a function's body without its docstring, which documents and does nothing."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


HEAVY = ("triton", "tensorboard", "matplotlib", "tyro", "rich", "torch.utils.cpp_extension")


def test_import_is_quiet_and_needs_no_compiler(tmp_path):
    code = (
        "import sys, torch; before = set(sys.modules); import fastgan; "
        "print(fastgan.__file__); print([m for m in sys.modules if m not in before])"
    )
    environment = {"PATH": "", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    if "SYSTEMROOT" in os.environ:
        environment["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    place, loaded = result.stdout.strip().splitlines()
    assert Path(place).parent == PACKAGE
    found = set(ast.literal_eval(loaded))
    assert not found & set(HEAVY), found & set(HEAVY)
    assert not any(name.startswith("fastgan.csrc") for name in found)
    assert not list(tmp_path.iterdir()), "importing wrote files"
