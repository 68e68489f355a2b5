# `make demo` and `make test` work on a fresh machine with Python 3.10 to 3.12 (x86-64 Linux) and a network:
# each makes .venv/ and installs what it needs once; a stamp file keeps later runs quick.
#
#   make demo ARGS="--seconds 60 --seed 7 --area cross --out out/cross"
#   make test ARGS="-k tiles"
#   make test JOBS=1                                     in one process after the other (JOBS: processes side by side)
#   make test TORCH="torch==2.13.0 --index-url URL"     another torch build (CPU only, CUDA version)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.10 || command -v python3)
VENV ?= .venv
TORCH ?= torch==2.13.0
ARGS ?=
JOBS ?= $(shell n=$$(nproc); echo $$((n < 4 ? n + 1 : 5)))
DEMO_OUT ?= out/demo
DOCS_OUT ?= docs/_build/html

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMPS := $(VENV)/.stamps
PACKAGING := setup.py setup.cfg pyproject.toml

.PHONY: help demo test lint docs docs-pictures clean

help:
	@echo "make demo   a simulated vehicle drives through a city and is localized on its map (ARGS=...)"
	@echo "make test   the whole test suite (ARGS=...)"
	@echo "make lint   ruff, ruff format and mypy"
	@echo "make docs   these pages and the API reference, as HTML"
	@echo "make clean  removes .venv, caches and build outputs"

demo: $(STAMPS)/demo
	$(BIN)/geoflow demo --out $(DEMO_OUT) $(ARGS)

test: $(STAMPS)/test
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile $(ARGS)

lint: $(STAMPS)/test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

docs: $(STAMPS)/docs
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet --fresh-env docs $(DOCS_OUT)
	@echo "$(DOCS_OUT)/index.html"

# Needs Graphviz; the pictures are in the repository, so that nothing else needs it.
docs-pictures: docs/images/architecture.svg

docs/images/%.svg: docs/images/%.dot
	dot -Tsvg $< -o $@

clean:
	rm -rf $(VENV) build dist docs/_build docs/api/generated *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(STAMPS)/venv:
	@test -n "$(PYTHON)" || { echo "no Python found: install Python 3.11, or name one with PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 10) <= v <= (3, 12) or sys.exit("Python %d.%d has no ROS wheels: name a Python 3.10, 3.11 or 3.12 with PYTHON=..." % v)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet wheel setuptools
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/demo: $(STAMPS)/venv $(PACKAGING)
	$(PIP) install --quiet --use-pep517 --editable ".[demo]"
	@touch $@

# torch goes first and alone: nothing that is installed later may choose another version of it.
$(STAMPS)/test: $(STAMPS)/venv $(PACKAGING)
	$(PIP) install --quiet $(TORCH)
	$(PIP) install --quiet --use-pep517 --editable ".[demo,train,openvino,rtx,geotiff,pmtiles,test]"
	@touch $@

$(STAMPS)/docs: $(STAMPS)/venv $(PACKAGING)
	$(PIP) install --quiet --use-pep517 --editable ".[docs]"
	@touch $@
