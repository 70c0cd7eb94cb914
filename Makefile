# Everything runs in .venv, made on first use; a second run of a target skips the installation.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
comma := ,
INSTALLED := $(VENV)/.installed

.PHONY: install demo test coverage matrix lint docs schemas clean

install: $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/partkit plan bert --stages 2 -o demo/bert2.json
	$(BIN)/partkit run demo/bert2.json --quick
	$(BIN)/partkit compare demo/bert2.json --with single,pipeline,dispatch,fsdp --quick

# A busy neighbour of a shared host can double a wall time: what asserts one has a second try.
TIMED = $(BIN)/python -m pytest -m "timed and not nightly"
test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not timed and not nightly"
	$(TIMED) || $(TIMED)

# What takes long and stands beside quicker tests of its kind.
nightly: $(INSTALLED)
	$(BIN)/python -m pytest -m nightly

# Of what needs no torch, by the quick tests. All of it: make coverage TESTS=tests COVERED=partkit
TESTS ?= tests/data tests/reports tests/cli
COVERED ?= partkit.data,partkit.reports,partkit_cli
coverage: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 -m "not timed and not slow" $(TESTS) $(patsubst %,--cov=%,$(subst $(comma), ,$(COVERED))) --cov-report=term:skip-covered

# Another torch than the pinned one, in an environment of its own.
TORCH ?= 2.14.1
matrix:
	$(PYTHON) -m venv .venv-torch-$(TORCH)
	grep -v -E '^(torch|torchvision|networkx|setuptools|sympy)==' constraints.txt >.venv-torch-$(TORCH)/constraints.txt
	.venv-torch-$(TORCH)/bin/python -m pip install -q --no-compile -c .venv-torch-$(TORCH)/constraints.txt torch==$(TORCH) hatchling
	.venv-torch-$(TORCH)/bin/python -m pip install -q --no-compile -c .venv-torch-$(TORCH)/constraints.txt --no-build-isolation -e '.[dev]'
	.venv-torch-$(TORCH)/bin/python -m pytest -n 2 -m "not timed" tests/models tests/stages tests/executors tests/runs

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(INSTALLED)
	$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build

schemas: $(INSTALLED)
	$(BIN)/python -m partkit.data.schemas

clean:
	rm -rf .venv dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache docs/_build

# hatchling first, and no build isolation: the pinned one builds, and nothing unpinned is fetched.
# Not compiled: Python does that for the few modules of torch and transformers that are imported.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("partkit needs Python 3.11 or newer; try: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt hatchling
	$(BIN)/python -m pip install -q --no-compile -c constraints.txt --no-build-isolation -e '.[dev,docs]'
	@touch $@
