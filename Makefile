# `make` alone lists what there is. Needs Python 3.11 or newer with pip; everything else is installed
# into .venv, once, from pyproject.toml with the exact versions of constraints.txt.

PYTHON ?= python3
BIN    := .venv/bin
READY  := .venv/ready
DEV    := .venv/ready-dev
PIP    := $(BIN)/python -m pip --disable-pip-version-check
export PIP_PROGRESS_BAR ?= off

.DEFAULT_GOAL := help
.PHONY: help demo ui test test-all test-chaos test-cluster check fix bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: $(READY)  ## make the environment, then search label smoothing on real data
	$(BIN)/orchestrator run experiments/digits-label-smoothing.yaml

ui: $(READY)  ## open MLflow's pages on the latest search
	$(BIN)/orchestrator ui

test: $(DEV)  ## the environment, then the tests
	$(BIN)/pytest -m "not slow and not chaos and not cluster"

test-all: $(DEV)  ## the longer journeys too
	$(BIN)/pytest -rs -m "not chaos"

test-chaos: $(DEV)  ## SIGKILL of every kind of process at 24 random moments (about 15 minutes)
	$(BIN)/pytest -v -m chaos

test-cluster: $(DEV)  ## `ray up` to `ray down` on machines made of namespaces (root; 10 to 14 minutes)
	$(BIN)/pytest -v -rs -m cluster

check: $(DEV)  ## format, lint, types, import rules, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell orchestrator benchmarks experiments *.md

fix: $(DEV)  ## mend format and what lint can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## measure against a bare loop, Ray's own pattern and others (about 30 minutes)
	$(BIN)/python benchmarks/orchestration.py
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.data
	$(BIN)/python -m benchmarks.reproducibility
	$(BIN)/python -m benchmarks.resume
	$(BIN)/python -m benchmarks.broker

clean:  ## remove the environment and the caches; results in runs/ stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -not -path './runs/*' -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 demo" >&2; exit 1; }
	@echo "installing into .venv: up to 3.2 GB to download, 6.5 GB on the disk; PyTorch with CUDA is most of it"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "make needs Python's venv; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PIP) install --quiet --constraint constraints.txt --editable '.[vision]'
	@touch $@

$(DEV): $(READY)
	@echo "installing the tools of development into .venv: about 60 MB"
	$(PIP) install --quiet --constraint constraints.txt --editable '.[vision,dev]'
	@touch $@
