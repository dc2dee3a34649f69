# The only commands of this repository; CI calls them too. `make` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup tools kubernetes build images demo crds test e2e kernels arm bench fmt lint docs clean

# Outside the clone, so that every clone finds its dependencies built.
CACHE := $(HOME)/.cache/opaque
export CARGO_TARGET_DIR ?= $(CACHE)/target
# The programs as they are shipped; tests leave theirs, built otherwise, in the folder that Cargo chooses.
export OPAQUE_BIN_DIR ?= $(CACHE)/bin
export PATH := $(CACHE)/tools/bin:$(HOME)/.cargo/bin:$(PATH)

# An error's backtrace shows only the runtime that polled a test, and hides the error above it. Panics keep theirs.
export RUST_LIB_BACKTRACE ?= 0

# Everything is built with the release profile, tests with less of it for our own crates:
# docs/decisions/002-one-profile.md.
# `secrets` is the client's half, which the tests of opaque-seal and opaque-pir need too.
WORKSPACE := --locked --release --workspace --features opaque-seal/secrets,opaque-pir/secrets
TESTS_PROFILE := --config .cargo/tests.toml

help: ## list these targets
	@awk -F':.*## ' '/^[a-z0-9]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what is missing to build (compilers, CMake, libclang, Rust)
	@scripts/setup.sh

tools: setup
	@scripts/setup.sh --tools

kubernetes: setup ## get what the tests' Kubernetes needs, outside the clone
	@scripts/setup.sh --kubernetes

# The servers without the client: built together with it, a node would be linked against an opaque-seal that
# has the client's feature `secrets` (ADR 005). The client with the features of the tests: so each
# dependency is compiled twice, not once for each program.
build: setup ## build `opaque`, the nodes' programs and `opaque-operator`
	cargo build --locked --release --package opaque-node --package opaque-prepare --package opaque-operator --bins
	cargo build $(WORKSPACE) --bin opaque
	$(call ship,opaque opaque-node opaque-prepare opaque-operator)

# A program that has not changed is left alone.
ship = install -C -D --target-directory $(OPAQUE_BIN_DIR) $(addprefix $(CARGO_TARGET_DIR)/release/,$(1))

# As OCI archives in $(CACHE)/images: docker, podman and containerd import them.
images: build ## write container images, without a container engine
	cargo build $(TESTS_PROFILE) $(WORKSPACE) --bin e2e-images --bin e2e-cluster --bin e2e-pod
	$(call ship,e2e-images e2e-cluster e2e-pod)
	$(OPAQUE_BIN_DIR)/e2e-images

demo: build ## start a cluster of three shards, ask it private questions, check the answers
	scripts/demo.sh

crds: setup ## generate charts/opaque-crds from crate opaque-crds
	cargo run --locked --release --package opaque-crds --example crdgen

# With empty caches, Go's servers are fetched and built beside the Rust ones: each waits for the network where the
# other computes.
beside_servers = scripts/setup.sh --kubernetes & servers=$$!; trap 'kill $$servers' EXIT; $(MAKE) $(1); trap - EXIT; wait $$servers

test: setup ## everything that must hold: lint, docs, all tests, a bounded fuzz run
	$(call beside_servers,build docs)
	$(MAKE) lint
	cargo test $(TESTS_PROFILE) $(WORKSPACE)
	scripts/fuzz.sh

# The tests' program is built before the cluster starts: `cargo test` finds it fresh.
# Three tests at a time: most of a test is waiting. OPAQUE_E2E_STEADY_S=600 lets one of them watch a cluster at rest for
# ten minutes in place of two (e2e/tests/kubernetes/all_quiet.rs).
E2E_TEST := cargo test $(TESTS_PROFILE) $(WORKSPACE) --test
e2e: $(if $(EXISTING),images,setup) ## test in a real Kubernetes that it starts (root); KUBECONFIG=... EXISTING=1: in yours
	$(if $(EXISTING),,$(call beside_servers,images))
	$(E2E_TEST) kubernetes --test cluster --no-run
	$(if $(EXISTING),,$(E2E_TEST) cluster -- --ignored --nocapture)
	$(OPAQUE_BIN_DIR)/e2e-cluster $(if $(EXISTING),--existing) --logs $(CARGO_TARGET_DIR)/e2e-logs -- \
		$(E2E_TEST) kubernetes -- --ignored --nocapture --test-threads 3 $(TESTS)

kernels: build ## test whole clusters with every kernel of this machine and both kinds of keys
	scripts/kernels.sh $(E2E_TEST) cluster

# The crate with the kernels. On another machine its tests run in an emulator, which says nothing about speed.
arm: setup ## test the engine's kernels for ARM
	@scripts/setup.sh --arm
	scripts/arm.sh

bench: setup ## measure the kernels
	cargo bench --locked --workspace --features opaque-seal/secrets,opaque-pir/secrets

fmt: setup ## format the code
	cargo fmt --all

lint: tools kubernetes ## check format, paths in documents, clippy, the client for WebAssembly, dependencies, features, circles, charts
	cargo fmt --all --check
	scripts/check-paths.sh
	scripts/check-paths.sh --self-test
	cargo clippy $(WORKSPACE) --all-targets -- -D warnings
	cargo check --locked --release --package opaque-client --lib --no-default-features --target wasm32-unknown-unknown
	cargo deny --locked check licenses bans sources
	scripts/check-charts.sh
	scripts/check-features.sh
	scripts/check-circles.sh

docs: setup ## build the API documentation
	RUSTDOCFLAGS="-D warnings" cargo doc $(WORKSPACE) --no-deps

clean: ## delete everything that was built
	cargo clean
