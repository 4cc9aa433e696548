# make install | demo | test | test-all | lint | format | bench | peers | clean
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# One thread a process: two threads inside one small kernel are slower than one.
TEST_WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_WORKERS)

.PHONY: help install demo test test-all lint format bench peers clean

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

install: $(STAMP) ## Make .venv and install pdeflow with the pinned versions

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "pdeflow needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(STAMP) ## Generate data, train an FNO, test it at two resolutions, write a report (about two minutes on two idle cores after the install)
	@rm -rf runs/demo data/demo
	$(BIN)/pdeflow generate -c datasets/darcy/recipe.yaml -o data/demo/darcy.h5
	$(BIN)/pdeflow fit -c configs/darcy_fno.yaml --data.init_args.path data/demo/darcy.h5 --run runs/demo
	$(BIN)/pdeflow test runs/demo

test: $(STAMP) ## The tests, without the slow ones
	$(PYTEST) -m "not slow"

test-all: $(STAMP) ## All tests
	$(PYTEST)

lint: $(STAMP) ## Format check, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/lint-imports
	$(BIN)/pyright

format: $(STAMP) ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## The quick form of every benchmark
	OMP_NUM_THREADS=2 $(BIN)/python -m benchmarks.darcy_small --quick
	$(BIN)/python -m benchmarks.first_run --quick
	$(BIN)/python -m benchmarks.elliptic --quick
	$(BIN)/python -m benchmarks.recycling --quick
	$(BIN)/python -m benchmarks.generation --quick
	$(BIN)/python -m benchmarks.operators --quick
	$(BIN)/python -m benchmarks.physics --quick

# PETSc with hypre is not on PyPI; Debian's runs with the system's own Python, so it has an environment of its own.
PETSC := python3-petsc4py python3-petsc4py-real python3-petsc4py-complex python3-scipy libopenblas0-serial

peers: $(STAMP) ## What the benchmarks compare with (PETSc: Debian or Ubuntu, as root)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[peers]"
	@{ command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; } || \
	  { echo "PETSc comes from apt: run make peers as root on Debian or Ubuntu (the peers from PyPI are installed; without PETSc its rows say so)." >&2; exit 1; }
	apt-get update
	apt-get install -y --no-install-recommends $(PETSC)
	/usr/bin/python3 -m venv --system-site-packages --without-pip .venv-peers

clean: ## Remove what the demo and the tests made (not .venv)
	rm -rf runs data .pytest_cache .ruff_cache .hypothesis dist build
