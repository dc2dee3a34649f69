# syntax=docker/dockerfile:1
# Three images, each with one program on a base without a shell. The node image also has
# opaque-prepare:
#
#   docker build --target node     --tag localhost/opaque-node:0.1.0     .
#   docker build --target operator --tag localhost/opaque-operator:0.1.0 .
#   docker build --target cli      --tag localhost/opaque-cli:0.1.0      .
#
# Both bases are Debian 12, so that programs run with the libc that they were linked with. Tags can
# change. To pin the bases, resolve their digests and pass them as arguments:
#
#   docker buildx imagetools inspect --format '{{.Manifest.Digest}}' gcr.io/distroless/cc-debian12:nonroot
#   docker build --build-arg BASE=gcr.io/distroless/cc-debian12:nonroot@sha256:... ...
ARG RUST=docker.io/library/rust:1.95.0-slim-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST} AS build
# SEAL is C++ and built with CMake. libclang reads its headers.
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
COPY election election
COPY fetch fetch
COPY source source
COPY store store
COPY crds crds
COPY client client
COPY registered registered
COPY cli cli
COPY bench bench
COPY node node
COPY prepare prepare
COPY operator operator
COPY e2e e2e
# Reproducible builds: versions from the lock file, no paths of this machine, no symbols.
ENV CARGO_TARGET_DIR=/target \
    CARGO_PROFILE_RELEASE_STRIP=symbols \
    SOURCE_DATE_EPOCH=0
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/usr/local/cargo/git \
    --mount=type=cache,target=/target \
    mkdir /programs \
    && cargo build --locked --release --workspace \
        --bin opaque-node --bin opaque-prepare --bin opaque-operator --bin opaque \
    && cd /target/release \
    && cp opaque-node opaque-prepare opaque-operator opaque /programs/

FROM ${BASE} AS node
COPY --from=build /programs/opaque-node /programs/opaque-prepare /usr/bin/
# Numeric, so that Kubernetes can verify that the user is not root.
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
