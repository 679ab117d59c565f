# Two commands do all the set-up on a machine with Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALLED_BENCH := $(VENV)/.installed-bench

.PHONY: help demo test bench check-demo lint format clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"weixing needs Python 3.11 or newer; {sys.executable} is {v.major}.{v.minor}. Use: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV) || (rm -rf $(VENV); exit 1)

$(INSTALLED): pyproject.toml $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(INSTALLED_DEV): pyproject.toml $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(INSTALLED)

$(INSTALLED_BENCH): pyproject.toml $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@ $(INSTALLED)

demo: $(INSTALLED)  ## the whole road in a few minutes: corpus, shards, pretraining, export, two tasks, fill-mask
	$(BIN)/weixing demo --out demo --overwrite

test: $(INSTALLED_DEV)  ## the whole test suite (under 10 minutes on two cores)
	$(BIN)/python -m pytest -n 2

# `make bench DATA=../data BENCH='pretrain --only 12/768'`; UER_DIR names a checkout of UER-py to measure as well.
bench: $(INSTALLED_BENCH)  ## speed beside transformers and UER-py (docs/performance.md), 2 hours
	$(BIN)/python -m bench $(if $(DATA),--data $(DATA)) $(BENCH)

check-demo: $(INSTALLED)  ## run the demo and check what it promises (4 minutes)
	$(BIN)/python tests/acceptance/check_demo.py

lint: $(INSTALLED_DEV)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED_DEV)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build src/*.egg-info
