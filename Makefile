# Every target sets up what it needs, without root: `make demo` in a fresh clone is enough.
# PYTHON=python3.12 names another interpreter (3.10 or later), ARGS="..." is passed on.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := demo,bench,metrics,dev
# Compared with in tests/metrics; what they ask for, a torchvision for CUDA, is not needed there.
METRIC_PEERS := torch-fidelity==0.4.0 clean-fid==0.1.35 pytorch-fid==0.3.0 prdc==0.2

ENVIRONMENT := $(VENV)/.installed
EXTENSION := fastgan/_C.abi3.so
CXX_FILES := $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
FORMATTED_FILES := $(CXX_FILES) $(wildcard tests/emulation/*.h tests/emulation/*.cpp)
CUDA_VENV := build/cuda-venv
CUDA_ENVIRONMENT := $(CUDA_VENV)/.installed
# A torch that PyPI has with CUDA 13: 5.6 GB with what it asks for.
CUDA_TORCH := torch==2.14.1
CUDA_TOOLCHAIN := nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 \
  'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-cccl==13.0.*'
# One thread per worker: the tests are many and small.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help venv build test test-all test-asan test-cuda-build cuda-check cuda-toolchain gpu-baseline demo bench bench-gate lint format clean
unexport PYTHONPATH

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile

venv: $(ENVIRONMENT)  ## create .venv with the pinned requirements and fastgan, editable
build: $(EXTENSION)  ## compile the C++ kernels, when they changed

test: build  ## run the tests, but the slow ones
	$(PYTEST) -m "not slow" $(ARGS)

test-all: build  ## run all tests
	$(PYTEST) $(ARGS)

test-asan: venv  ## run the tests of the C++ kernels under AddressSanitizer and UBSan
	tools/test_asan.sh $(BIN) $(ARGS)

gpu-baseline: venv  ## compile the Triton and CUDA kernels for GPUs and record their registers
	$(BIN)/python -m tests.triton.baseline
	$(BIN)/python -m tests.gpu_gate.baseline

cuda-check: venv  ## compile the CUDA kernels and their bindings for GPUs; needs nvcc, no GPU
	FASTGAN_REQUIRE=nvcc $(BIN)/python -m pytest tests/gpu_gate $(ARGS)

# nvcc and the headers it needs, without a driver, a GPU or root: 271 MB.
cuda-toolchain: venv  ## install nvcc from PyPI into .venv, where none is on PATH
	@command -v nvcc > /dev/null || test -x $(VENV)/lib/python3*/site-packages/nvidia/cu13/bin/nvcc \
	  || $(BIN)/pip install -q --no-deps $(CUDA_TOOLCHAIN)

test-cuda-build: $(CUDA_ENVIRONMENT)  ## build both extensions with a CUDA torch; needs nvcc, no GPU
	tools/test_cuda_build.sh $(CUDA_VENV) $(ARGS)

demo: build  ## train a small StyleGAN2 on the shipped images for five minutes, and sample it
	$(BIN)/fastgan demo $(ARGS)

bench: build  ## time ops, synthesis and training against others; writes benchmarks/results
	$(BIN)/python -m benchmarks $(ARGS)

bench-gate: build  ## fail where a call got slower than the stored run; ARGS=--store keeps this run
	$(BIN)/python -m pytest -q benchmarks/test_regression.py $(ARGS)

lint: venv  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(FORMATTED_FILES)

format: venv  ## rewrite the sources in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(FORMATTED_FILES)

clean:  ## remove what was built and cached; .venv and out stay
	rm -rf build dist *.egg-info fastgan/_C*.so fastgan/_engine*.so .pytest_cache .mypy_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print | xargs rm -rf

# The package is installed without its extension, which $(EXTENSION) then builds in place, reusing
# the objects of the last build.
$(ENVIRONMENT): constraints.txt pyproject.toml setup.py
	@command -v $(PYTHON) > /dev/null || { \
	  echo "make: no $(PYTHON) found; install Python 3.10 or later, or say make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "make: fastgan needs Python 3.10 or later, $(PYTHON) is $$($(PYTHON) -V 2>&1);" \
	    "say make PYTHON=python3.11, for example"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
	  echo "make: $(PYTHON) cannot create virtual environments (no venv or ensurepip);" \
	    "on Debian and Ubuntu install python3-venv, or say make PYTHON=..."; exit 1; }
	@echo "make: creating $(VENV); torch takes a few minutes"
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install -q -c constraints.txt torch setuptools wheel ninja pybind11
	FASTGAN_SKIP_EXT=1 $(BIN)/pip install -q -c constraints.txt --no-build-isolation \
	  -e '.[$(EXTRAS)]'
	$(BIN)/pip install -q --no-deps $(METRIC_PEERS)
	@touch $@

# Apart from .venv, whose torch is built for CPUs.
$(CUDA_ENVIRONMENT): Makefile
	test -x $(CUDA_VENV)/bin/pip || $(PYTHON) -m venv --clear $(CUDA_VENV)
	$(CUDA_VENV)/bin/pip install -q $(CUDA_TORCH) setuptools wheel ninja numpy pytest
	command -v nvcc > /dev/null || $(CUDA_VENV)/bin/pip install -q --no-deps $(CUDA_TOOLCHAIN)
	@touch $@

# No file comes of a failed build, which setup.py reports in one line, so the next make tries again.
$(EXTENSION): $(ENVIRONMENT) setup.py fastgan/_build.py $(CXX_FILES)
	$(BIN)/python setup.py -q build_ext --inplace
	@touch -c $@
