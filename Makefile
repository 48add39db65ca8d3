# Every verb of this repository. `make` alone lists them.

VENV ?= .venv
BIN := $(VENV)/bin
CARGO ?= cargo
# How long and where the fuzzer looks; a failure prints the options that repeat it.
FUZZ_CASES ?= 100000
FUZZ_SEED ?= 1
# Programs on which both tiers of the software engine must agree; --stress: in every way of translating.
LOCKSTEP_CASES ?= 3000
LOCKSTEP_WAYS ?=
FUZZ_SECONDS ?= 3600
FUZZ := $(CARGO) run --quiet --package innkeeper-fuzz --

# One interpreter for every build, so that cargo and maturin agree on what is up to date.
export PYO3_PYTHON := $(abspath $(BIN)/python)
export PIP_QUIET := 1
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup oracles build check fmt fuzz test test-rust test-fuzz test-python soak demo bench docs clean

help: ## list these verbs
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

setup: $(VENV)/.ready ## make .venv with the tools that the other verbs use

$(VENV)/.ready: pyproject.toml scripts/setup
	scripts/setup $(VENV)
	@touch $@

oracles: ## as root: install the Debian packages that some tests compare with (others skip those tests)
	scripts/oracles

build: setup ## build the extension and install the package into .venv, editable
	maturin develop --release --quiet
	python -m compileall -q src/innkeeper # as pip does with what it installs

check: setup ## formatters, linters, types, import contracts
	ruff format --check --quiet
	ruff check --quiet
	mypy
	PYTHONPATH=src lint-imports --no-logo --config pyproject.toml
	$(CARGO) fmt --all --check
	$(CARGO) clippy --quiet --workspace --all-targets -- -D warnings

fmt: setup ## format everything
	ruff format --quiet
	ruff check --quiet --fix
	$(CARGO) fmt --all

test: oracles check test-rust test-fuzz test-python ## everything that must hold: check, Rust tests, Python tests, boots

test-rust: setup
	$(CARGO) test --quiet --workspace --exclude innkeeper-py

test-fuzz: setup
	for bits in 64 32; do \
	  for tier in interp bt; do \
	    $(FUZZ) --cases $(FUZZ_CASES) --seed $(FUZZ_SEED) --bits $$bits --tier $$tier || exit 1; \
	  done; \
	  for cpl in 3 0; do \
	    $(FUZZ) --lockstep $(LOCKSTEP_WAYS) --cases $(LOCKSTEP_CASES) --seed $(FUZZ_SEED) --bits $$bits --cpl $$cpl || exit 1; \
	  done; \
	done

fuzz: build ## foreign input against each parser, FUZZ_SECONDS each
	python -m tests.fuzz.rfb --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED)
	python -m tests.fuzz.board --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED)
	python -m tests.fuzz.iso --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED)
	$(CARGO) run --release --quiet --package innkeeper-fuzz --bin fuzz-qcow2 -- --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED)
	$(CARGO) run --release --quiet --package innkeeper-fuzz --bin fuzz-net -- --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED)
	INNKEEPER_FUZZ_SECONDS=$(FUZZ_SECONDS) INNKEEPER_FUZZ_SEED=$(FUZZ_SEED) \
	  $(CARGO) test --quiet --release --package innkeeper-devices ata::tests::properties -- --test-threads=1
	$(CARGO) run --quiet --package innkeeper-devices --example fuzz_virtio -- $(FUZZ_SECONDS) $(FUZZ_SEED)
	$(CARGO) run --quiet --package innkeeper-devices --example fuzz_vga -- $(FUZZ_SECONDS) $(FUZZ_SEED)

# A file's tests stay together: they share guests. Those that boot guests come first, and are the longest. Their folder has a short
# name because addresses of sockets must; what failed leaves its files there.
test-python: build
	folder=$$(mktemp -dt inn.XXXX) && \
	  pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --basetemp $$folder/t && \
	  rm -rf $$folder

soak: build ## hours of what test does for minutes: fuzzing, boots, every kernel, all the stress; FUZZ_SEED=N fuzzes elsewhere
	$(MAKE) test-fuzz FUZZ_CASES=2000000 LOCKSTEP_CASES=200000 LOCKSTEP_WAYS=--stress
	INNKEEPER_WALK=3000 INNKEEPER_SOAK=1 pytest -q tests/manager/faults
	scripts/soak

demo: build ## boot a stock Debian kernel in a virtual machine
	scripts/demo

bench: build ## measure boot, guest programs, start, memory, latency, menu, VNC, images, disks and an installation, against QEMU; render docs/benchmarks.md
	python benches/boot/bench.py --render docs/benchmarks.md
	python -m benches.guestbench.bench --append docs/benchmarks.md
	python benches/footprint/footprint.py --append docs/benchmarks.md
	python benches/latency/latency.py --append docs/benchmarks.md
	python -m benches.menu.bench --append docs/benchmarks.md
	python -m benches.vnc.vnc --append docs/benchmarks.md
	python benches/image/bench.py --append docs/benchmarks.md
	python -m benches.disk.disk --append docs/benchmarks.md
	python benches/network/bench.py --append docs/benchmarks.md
	python benches/manager/bench.py --append docs/benchmarks.md
	python -m benches.install.bench --append docs/benchmarks.md

docs: build ## render the pages that are made from the code
	python scripts/render_cli_reference.py docs/reference/inn.md

clean: ## remove what was built, not what was downloaded
	$(CARGO) clean --quiet
	rm -rf $(VENV) build dist src/innkeeper/_core*.so
