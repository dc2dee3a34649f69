#!/usr/bin/env bash
# Makes a kind cluster in which `make e2e EXISTING=1` runs: for a machine on which `make e2e` cannot start a
# Kubernetes of its own, since that needs root and control groups of version 1.
#
#   make images                     # on Linux, for the architecture of kind's nodes
#   e2e/kind.sh                     # arguments are those of `kind create cluster`, such as --image
#   KUBECONFIG=~/.kube/config make e2e EXISTING=1
#   kind delete cluster --name opaque-e2e
#
# Needs kind, kubectl, Helm and Docker; Podman with KIND_EXPERIMENTAL_PROVIDER=podman. The kubeconfig is
# written to $KUBECONFIG, or to ~/.kube/config. The images of the workspace are loaded into the nodes,
# and examples/kubernetes/minio.yaml is the object store: nothing else is expected of a cluster, so that for
# any other it is enough to do these two by its own means. Tests that kill servers of the cluster or read its audit log
# say `skipped`.
set -euo pipefail
cd "$(dirname "$0")/.."

name=opaque-e2e
images=${OPAQUE_BIN_DIR:-$HOME/.cache/opaque/bin}/../images
export KUBECONFIG=${KUBECONFIG:-$HOME/.kube/config}

fail() {
    echo "kind.sh: $*" >&2
    exit 1
}

for tool in kind kubectl helm; do
    command -v "$tool" >/dev/null || fail "$tool is missing"
done
compgen -G "$images/*.tar" >/dev/null || fail "no images in $images: run \`make images\`"

kind create cluster --name "$name" --wait 5m "$@"
for image in "$images"/*.tar; do
    echo "kind.sh: loading $image"
    kind load image-archive "$image" --name "$name"
done
kubectl apply --filename examples/kubernetes/minio.yaml
kubectl --namespace minio rollout status deployment/minio --timeout 5m
echo "kind.sh: ready: KUBECONFIG=$KUBECONFIG make e2e EXISTING=1"
