#!/usr/bin/env bash
# Creates a kind cluster for `make e2e EXISTING=1`. Use it on machines where `make e2e` cannot start
# a Kubernetes cluster, because that needs root and control groups version 1.
#
#   make images                     # on Linux, for the architecture of kind's nodes
#   e2e/kind.sh                     # takes the arguments of `kind create cluster`, such as --image
#   KUBECONFIG=~/.kube/config make e2e EXISTING=1
#   kind delete cluster --name opaque-e2e
#
# The script needs kind, kubectl, Helm and Docker (or Podman with
# KIND_EXPERIMENTAL_PROVIDER=podman). It writes the kubeconfig to $KUBECONFIG, or to ~/.kube/config.
# It loads the images of the workspace into the nodes and installs the object store
# examples/kubernetes/minio.yaml. To use another cluster, do these two steps there. Tests that kill
# servers of the cluster or read its audit log are skipped.
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
