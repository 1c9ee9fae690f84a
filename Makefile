# One runner for people and for CI. Each target sets up what it needs in .venv; a second run starts at once.
#   make demo PIP_ARGS="--extra-index-url URL"    point pip at another index, such as one of CPU builds
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash

SUITABLE := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	"$$p" -c '$(SUITABLE)' >/dev/null 2>&1 && { command -v "$$p"; break; }; done)
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --constraint constraints.txt $(PIP_ARGS)
SETTINGS := pyproject.toml constraints.txt
JOBS ?= 2

.PHONY: help demo demo-images test verify lint format bench docs clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 22

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: error: Python 3.11 or later is needed. Fix: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# The build backend is installed first, so that it is pinned too.
$(VENV)/.installed-core: $(SETTINGS) | $(BIN)/python
	$(PIP) hatchling
	$(PIP) --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: $(SETTINGS) | $(BIN)/python
	$(PIP) hatchling
	$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@ $(VENV)/.installed-core

demo: $(VENV)/.installed-core  ## simulate faults, find them, write demo/report.html
	$(BIN)/calowatch demo --out demo

demo-images: $(VENV)/.installed-dev  ## simulate particles and jets, learn, judge, write demo-images/report.html
	$(BIN)/calowatch demo-images --out demo-images

test: $(VENV)/.installed-dev  ## all tests but the slow ones, and the examples of the documentation
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow"

verify: $(VENV)/.installed-dev  ## the slow tests and the benchmarks
	$(BIN)/python -m pytest -m slow tests
	$(MAKE) bench

bench: $(VENV)/.installed-dev  ## measure, and print each figure beside its goal
	$(BIN)/python -m pytest benchmarks --benchmark-enable --benchmark-columns=min,median,rounds -m "slow or not slow"

lint: $(VENV)/.installed-dev  ## style, types and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev  ## put the source into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-core  ## write docs/commands.md anew from the verbs' own help
	$(BIN)/python docs/commands.py

clean:  ## remove what was generated, except .venv
	rm -rf demo demo-images build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks
	find src tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +
