# The commands of veilsum. `make demo` and `make test` install what they need into .venv and target/.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
MINUTES ?= 5
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help
help:
	@echo "make demo     build, install, and run the main job on real data"
	@echo "make test     every test: format, lints, Rust, fuzz seeds, Python"
	@echo "make deep     long proofs: fuzzing, 10^8 draws, kill loops (MINUTES=$(MINUTES) a fuzz target)"
	@echo "make bench-X  X in noise, accounting, queries, ledger, crypto, federated: ours beside the peers"
	@echo "make figures  accuracy against epsilon"

# ---- what the machine must have -----------------------------------------------------------------

.PHONY: machine
machine:
	@command -v cargo >/dev/null || { echo "veilsum needs the Rust toolchain (1.89 or newer): install rustup, then 'rustup default stable'"; exit 1; }
	@command -v cc >/dev/null || { echo "veilsum needs a C compiler (SQLite is built from source): apt-get install gcc libc6-dev"; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "veilsum needs Python 3.11 or newer: apt-get install python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "veilsum needs Python 3.11 or newer; $(PYTHON) is older: set PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "veilsum needs Python's venv module: apt-get install python3-venv"; exit 1; }

# ---- set-up -------------------------------------------------------------------------------------

$(VENV)/made: | machine
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade 'pip>=25.1' 'maturin>=1.9,<2'
	touch $@

$(VENV)/tested: py-bindings/pyproject.toml | $(VENV)/made
	$(PY) -m pip install --quiet --group py-bindings/pyproject.toml:test
	touch $@

.PHONY: install
install: machine $(VENV)/made
	maturin develop --quiet --release --manifest-path py-bindings/Cargo.toml --extras demo

# ---- the two commands ---------------------------------------------------------------------------

.PHONY: demo
demo: install
	$(PY) -m veilsum demo --reveal-truth

.PHONY: test
test: lint test-rust test-fuzz-seeds test-python

.PHONY: lint
lint: $(VENV)/made
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets --all-features -- --deny warnings

.PHONY: test-rust
test-rust: $(VENV)/made
	cargo test --release --workspace --exclude veilsum-py

.PHONY: test-fuzz-seeds
test-fuzz-seeds: machine
	CARGO_TARGET_DIR=target cargo test --release --manifest-path fuzz/Cargo.toml

.PHONY: test-python
test-python: install $(VENV)/tested
	$(PY) -m pytest -c py-bindings/pyproject.toml tests/python

# ---- long proofs --------------------------------------------------------------------------------

.PHONY: deep
deep: deep-rust deep-fuzz

.PHONY: deep-rust
deep-rust: machine
	VEILSUM_DEEP=1 cargo test --release --package veilsum-tests -- --nocapture

.PHONY: deep-fuzz
deep-fuzz: machine
	fuzz/run.sh $(MINUTES)

# ---- benchmarks, each with its peers in virtual environments of their own -----------------------

.PHONY: bench-%
bench-%: install
	$(PY) benches/peers/$*.py

.PHONY: figures
figures: install
	$(PY) -m pip install --quiet --group py-bindings/pyproject.toml:figures
	$(PY) benches/figures.py
