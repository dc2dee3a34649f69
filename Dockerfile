# syntax=docker/dockerfile:1
# Three images, each one program (and opaque-node's companion) on a base without a shell:
#
#   docker build --target node     --tag localhost/opaque-node:0.1.0     .
#   docker build --target operator --tag localhost/opaque-operator:0.1.0 .
#   docker build --target cli      --tag localhost/opaque-cli:0.1.0      .
#
# Both bases are Debian 12, so that the programs find the libc they were linked with. Tags move. To pin
# them, resolve their digests once and pass them on:
#
#   docker buildx imagetools inspect --format '{{.Manifest.Digest}}' gcr.io/distroless/cc-debian12:nonroot
#   docker build --build-arg BASE=gcr.io/distroless/cc-debian12:nonroot@sha256:... ...
ARG RUST=docker.io/library/rust:1.95.0-slim-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST} AS build
# SEAL is C++ built with CMake; libclang reads its headers.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates clang cmake g++ git libclang-dev make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opaque
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY .cargo .cargo
COPY proto proto
COPY pir pir
COPY identity identity
COPY ops ops
COPY source source
COPY store store
COPY crds crds
COPY client client
COPY node node
COPY prepare prepare
COPY operator operator
COPY e2e e2e
# The same input gives the same programs: versions from the lock file, no path of this machine, no symbols.
ENV CARGO_TARGET_DIR=/target \
    CARGO_PROFILE_RELEASE_STRIP=symbols \
    SOURCE_DATE_EPOCH=0
# The servers without the client: built together with it, a node would be linked against an opaque-seal
# that can hold secrets (docs/decisions/005-secrets-feature.md).
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/usr/local/cargo/git \
    --mount=type=cache,target=/target \
    mkdir /programs \
    && cargo build --locked --release --package opaque-node --package opaque-prepare --package opaque-operator --bins \
    && cargo build --locked --release --package opaque-client --bins \
    && cd /target/release \
    && cp opaque-node opaque-prepare opaque-operator opaque /programs/

FROM ${BASE} AS node
COPY --from=build /programs/opaque-node /programs/opaque-prepare /usr/bin/
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/usr/bin/opaque-node"]

FROM ${BASE} AS operator
COPY --from=build /programs/opaque-operator /usr/bin/
USER 65532:65532
ENTRYPOINT ["/usr/bin/opaque-operator"]

FROM ${BASE} AS cli
COPY --from=build /programs/opaque /usr/bin/
USER 65532:65532
ENTRYPOINT ["/usr/bin/opaque"]
