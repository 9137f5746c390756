# `make report` and `make test` are all that a fresh machine needs: Python 3.11+, make and pip.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: report dashboard test lint types slow engines benchmarks hostile docs docs-links clean

report: $(VENV)/.installed
	$(BIN)/probe report

dashboard: $(VENV)/.installed
	$(BIN)/probe dashboard

test: $(VENV)/.installed-test lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "slow and not cuda" --ignore=tests/benchmarks --ignore-glob='*test_engines*' --durations=15

# Killed workers, lost nodes, stopped drivers, on this machine alone.
engines: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "slow and not cuda" tests/runs -k engines --durations=5

benchmarks: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "slow and not cuda" -s tests/benchmarks --durations=15

# 10,000 hostile inputs, about an hour on two cores; an interrupted run continues where it stopped.
hostile: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/python tests/hostile/fuzz.py --count 10000 --workers 2

# Examples whose script and code have not changed are not run again.
docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -d docs/_build/doctrees docs docs/_build/html

# Links to other sites, over the network: reported, nothing more.
docs-links: $(VENV)/.installed-docs
	-$(BIN)/python -m sphinx -q -b linkcheck -d docs/_build/doctrees docs docs/_build/links

lint: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed-test
	$(BIN)/pyrefly check

# An environment that exists is kept: install your own pair of torch and torchvision into it first if you want to.
$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "probe needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[test]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .hostile docs/_build docs/auto_*
