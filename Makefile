# Two commands do all the set-up on a machine with Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALLED_BENCH := $(VENV)/.installed-bench
# TensorFlow and Keras have environments of their own: what they need does not agree with what this project needs.
TF := .venv-tf
KERAS := .venv-keras
SOAK := .venv-soak
FRAMEWORKS := tests/frameworks
MEASURED := bench/results/formats.jsonl

.PHONY: help demo test test-formats test-grid test-ray chaos test-hosts test-tf test-keras formats bench check-demo soak lint format clean
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
	@echo 'More, which takes longer: `make test-grid`, `make test-ray`, `make test-tf`, `make test-keras`.'

$(TF)/.installed: $(FRAMEWORKS)/requirements-tf.txt $(VENV)/bin/python
	$(BIN)/python -m venv $(TF)
	$(TF)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(KERAS)/.installed: $(FRAMEWORKS)/requirements-keras.txt $(VENV)/bin/python
	$(BIN)/python -m venv $(KERAS)
	$(KERAS)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

test-grid: $(INSTALLED_DEV)  ## a grid that is killed and stopped at every turn (2 minutes)
	$(BIN)/python -m pytest tests/tasks/check_grid.py

chaos: $(INSTALLED_DEV)  ## faults (kills, full disks, cut network, damaged files) and what comes of them (40 minutes; best as root)
	$(BIN)/python -m tests.acceptance.chaos

test-ray: $(INSTALLED_DEV)  ## a grid, and shards, on a Ray cluster that loses a machine (installs Ray in .venv)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[ray]'
	$(BIN)/python -m pytest tests/tasks/check_ray.py tests/data/check_ray_prepare.py

# As root, with iproute2: the hosts are network namespaces.
test-hosts: $(INSTALLED_DEV)  ## runs under torchrun that lose a process or a host
	$(BIN)/python -m pytest tests/training/check_elastic.py

# Models are exported by this project, then opened where it is not installed.
test-tf: $(INSTALLED_DEV) $(TF)/.installed  ## exported models in TensorFlow (installs it in .venv-tf)
	rm -rf $(TF)/models && mkdir $(TF)/models
	$(BIN)/python $(FRAMEWORKS)/export_models.py tf $(TF)/models
	$(TF)/bin/python $(FRAMEWORKS)/check_tensorflow.py $(TF)/models

test-keras: $(INSTALLED_DEV) $(KERAS)/.installed  ## exported models in Keras on TensorFlow and JAX (.venv-keras)
	rm -rf $(KERAS)/models && mkdir $(KERAS)/models
	$(BIN)/python $(FRAMEWORKS)/export_models.py keras $(KERAS)/models
	KERAS_BACKEND=tensorflow $(KERAS)/bin/python $(FRAMEWORKS)/check_keras.py $(KERAS)/models
	KERAS_BACKEND=jax $(KERAS)/bin/python $(FRAMEWORKS)/check_keras.py $(KERAS)/models

formats:  ## how exactly every format is read and written (docs/formats.md), 6 minutes
	rm -f $(MEASURED)
	FORMATS_MEASURED=$(CURDIR)/$(MEASURED) $(MAKE) test-formats test-tf test-keras
	$(BIN)/python -m bench.formats_page

test-formats: $(INSTALLED_DEV)
	$(BIN)/python -m pytest tests/formats

# `make bench DATA=../data BENCH='pretrain --only 12/768'`; UER_DIR names a checkout of UER-py to measure as well.
bench: $(INSTALLED_BENCH)  ## speed beside transformers and UER-py (docs/performance.md), 2 hours
	$(BIN)/python -m bench $(if $(DATA),--data $(DATA)) $(BENCH)

check-demo: $(INSTALLED)  ## run the demo and check what it promises (4 minutes)
	$(BIN)/python tests/acceptance/check_demo.py

$(SOAK)/.installed: tests/acceptance/requirements-serving.txt $(VENV)/bin/python
	$(BIN)/python -m venv $(SOAK)
	$(SOAK)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

soak: $(INSTALLED_DEV) $(SOAK)/.installed  ## the service under load: 20,000 requests, signals, schemathesis (10 minutes)
	$(BIN)/python -m tests.acceptance.soak_serving $(SOAK)/bin

lint: $(INSTALLED_DEV)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED_DEV)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the virtual environments and caches
	rm -rf $(VENV) $(TF) $(KERAS) $(SOAK) .pytest_cache .mypy_cache .ruff_cache .hypothesis build src/*.egg-info
