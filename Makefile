# Every target sets up what it needs, without root: `make demo` in a fresh clone is enough.
# PYTHON=python3.12 names another interpreter (3.10 or later), ARGS="..." is passed on.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := demo,bench,metrics,dev

ENVIRONMENT := $(VENV)/.installed
EXTENSION := fastgan/_C.abi3.so
CXX_FILES := $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
FORMATTED_FILES := $(CXX_FILES) $(wildcard tests/emulation/*.h tests/emulation/*.cpp)
# One thread per worker: the tests are many and small.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8

SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help venv build test test-all test-asan gpu-baseline demo bench lint format clean
unexport PYTHONPATH

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

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

demo: build  ## train a small StyleGAN2 on the shipped images for five minutes, and sample it
	$(BIN)/fastgan demo $(ARGS)

bench: build  ## time every op against plain PyTorch and torch.compile; writes benchmarks/results
	$(BIN)/python -m benchmarks $(ARGS)

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
	rm -rf build dist *.egg-info $(EXTENSION) .pytest_cache .mypy_cache .ruff_cache
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
	@touch $@

# No file comes of a failed build, which setup.py reports in one line, so the next make tries again.
$(EXTENSION): $(ENVIRONMENT) setup.py fastgan/_build.py $(CXX_FILES)
	$(BIN)/python setup.py -q build_ext --inplace
	@touch -c $@
