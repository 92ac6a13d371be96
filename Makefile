# `make help` lists the targets. Each installs what it needs: Debian packages where it may, Python parts into .venv, servers for the
# tests into the user's cache.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
CARGO := cargo
# Crash points, and the suite that every log passes, are compiled in for tests only.
TEST_FEATURES := forebay-cli/failpoints,forebay-sink/failpoints,forebay-broker/failpoints,forebay-broker/conformance
# Warnings fail `make lint`. Those of another Rust than the code was last linted with are only shown: it may know new lints.
DENY = $(if $(findstring clippy 0.1.95,$(shell $(CARGO) clippy --version)),-- -D warnings)
# Where the demo's log is: local, or kafka (then its lake is on S3); it starts the servers that it needs.
BROKER := local
# Where the servers that tests run against are installed.
export FOREBAY_COMPONENTS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/forebay/components

.DEFAULT_GOAL := help
.PHONY: help demo test bench fmt lint tools components python

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: tools python $(if $(filter kafka,$(BROKER)),components) ## the main path on real data, with proof (BROKER=kafka: on Kafka and S3; KEEP=1 leaves it running)
	$(CARGO) build --locked --release -p forebay-cli
	$(if $(filter kafka,$(BROKER)),$(CARGO) build --locked --release -p forebay-components)
	.venv/bin/python examples/flights/demo.py --forebay $(TARGET_DIR)/release/forebay --folder forebay-data/demo \
	    --broker $(BROKER) --components $(TARGET_DIR)/release/forebay-components $(if $(KEEP),--keep)

test: export FOREBAY_TEST_REQUIRE := all
test: export FOREBAY_TEST_PYTHON := $(CURDIR)/.venv/bin/python
test: tools lint components ## every check: formatting, lints, all tests, on real servers
	$(CARGO) test --locked --workspace --features $(TEST_FEATURES)

lint: tools ## formatting and lints, without changing anything
	@scripts/tools lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --features $(TEST_FEATURES) $(DENY)

fmt: ## formats all sources
	$(CARGO) fmt --all

bench: tools ## measures costs, rewrites bench/RESULTS.md (about 3 minutes once built)
	$(CARGO) build --locked --release -p forebay-bench
	$(TARGET_DIR)/release/bench-encode
	$(TARGET_DIR)/release/bench-ingest
	$(TARGET_DIR)/release/bench-report

components: ## installs the servers that tests run against (minutes once, then nothing)
	@scripts/tools components
	@scripts/components

tools:
	@scripts/tools

python: .venv/ready

.venv/ready: examples/flights/requirements.txt examples/flights/requirements-data.txt
	@scripts/venv
	.venv/bin/python -m pip install --quiet -r examples/flights/requirements.txt
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation -r examples/flights/requirements-data.txt
	touch $@
