# Two commands set everything up: `make demo` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: bench demo test check format lint types imports deps docs wheel packages deb debtest clean help

VENV := .venv
BIN := $(VENV)/bin
TOOLS := build/tools
UV := $(TOOLS)/bin/uv
STAMP := $(VENV)/.synced
ALL_EXTRAS := $(VENV)/.synced-with-all-extras

help:  ## list what can be made
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(STAMP)  ## the whole program with embedded servers; needs only Python and make
	$(BIN)/sidep-dispatcher demo

# Compiled first: tests start the program and its children often, and a child writes nothing it compiled.
test: packages $(ALL_EXTRAS) lint types imports deps  ## everything, on real servers
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib dispatcher tests >/dev/null || true
	$(BIN)/pytest -n 3 --dist worksteal

check: $(STAMP) lint types imports  ## the quick part, under a minute
	$(BIN)/pytest -q -n 3 --dist worksteal -m 'not slow' tests/unit tests/architecture tests/crash

format: $(STAMP)  ## put the code into shape
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

lint: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

deps: $(STAMP)
	$(BIN)/deptry .

docs: $(STAMP)  ## write the pages that are made from the code
	$(BIN)/python -m tests.architecture.generate

wheel: | $(UV)  ## build the package into dist/
	$(UV) build --quiet --wheel

deb: | packages $(UV)  ## build the Debian package into dist/
	@packaging/build_deb.sh $(UV)

debtest: packages $(ALL_EXTRAS)  ## build, install, upgrade, remove and purge it in a fresh Debian (root)
	@{ command -v debootstrap && command -v systemd-nspawn; } >/dev/null || apt-get install -y -qq --no-install-recommends debootstrap systemd-container
	UV=$(abspath $(UV)) $(BIN)/pytest -m deb --timeout 1800 tests/packaging

# What is measured against, and the plots, are in a group of their own.
bench: packages $(UV)  ## measure everything and write docs/performance.md: 25 to 45 minutes, nothing else running
	$(UV) sync --quiet --all-extras --group bench --locked
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib dispatcher bench tests >/dev/null || true
	$(BIN)/python -m bench $(BENCH)

packages:  ## the Debian packages that the tests need
	@tests/packages.sh

# uv itself comes from PyPI into the project's own directory: no installer, no root.
$(UV):
	@tests/python.sh $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check 'uv>=0.7'

# Printing is left out here: its library is compiled, with Debian packages. What is there stays.
$(STAMP): pyproject.toml uv.lock | $(UV)
	$(UV) sync --quiet --extra demo --locked --inexact
	@touch $@

$(ALL_EXTRAS): pyproject.toml uv.lock | packages $(UV)
	$(UV) sync --quiet --all-extras --locked
	@touch $(STAMP) $@

clean:  ## remove what was made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
