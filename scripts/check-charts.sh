#!/usr/bin/env bash
# Checks charts and Dockerfile without an API server; e2e/tests/charts uses one. `make lint` calls
# this script. It needs helm (`make kubernetes`) and checkov (`make tools`).
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's|^\t*k8s.io/kubernetes v\([^ ]*\).*|\1|p' e2e/servers/go.mod)
helm="$HOME/.cache/opaque/kubernetes/$version/bin/helm"
checkov="$HOME/.cache/opaque/tools/checkov/bin/checkov"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "check-charts: $*" >&2
    exit 1
}
[ -x "$helm" ] || fail "$helm is missing: run \`make kubernetes\`"
[ -x "$checkov" ] || fail "$checkov is missing: run \`make tools\`"

# render VALUES OPTION...
render() {
    local values=$1
    shift
    "$helm" template opaque charts/opaque --namespace opaque-system --kube-version "$version" \
        --values "$values" "$@"
}

# scan CONFIG MANIFEST: runs checkov without guidelines, which it would download.
scan() {
    "$checkov" --config-file "$1" --file "$2" --framework kubernetes --skip-download --quiet --compact \
        >"$work/checkov.log" 2>&1 || {
        cat "$work/checkov.log" >&2
        fail "$2: see the failed checks above; $1 lists the exceptions, each with its reason"
    }
}

echo "check-charts: lint"
for chart in opaque opaque-crds; do
    "$helm" lint --strict --quiet "charts/$chart"
done
for values in charts/opaque/ci/*.yaml; do
    "$helm" lint --strict --quiet --namespace opaque-system --values "$values" charts/opaque
done

echo "check-charts: security scan of what is rendered"
for values in charts/opaque/values.yaml charts/opaque/ci/*.yaml; do
    name=$(basename "$values" .yaml)
    # The NetworkPolicy is always rendered: the option to disable it is not a finding.
    render "$values" --skip-tests --set networkPolicy.enabled=true >"$work/$name-operator.yaml"
    grep -q '^kind: Deployment' "$work/$name-operator.yaml" || fail "$values renders no Deployment"
    scan charts/checkov/operator.yaml "$work/$name-operator.yaml"
    # Without a cluster to test, the template is empty, which helm reports as an error.
    if grep -q '^ *cluster:' "$values" && render "$values" --show-only templates/tests/query.yaml \
        >"$work/$name-test.yaml" 2>/dev/null; then
        scan charts/checkov/test.yaml "$work/$name-test.yaml"
    fi
done
ls "$work"/*-test.yaml >/dev/null || fail "no set of values renders the test"

# Checks that the scan finds a Deployment with a weakened security context.
sed '/allowPrivilegeEscalation: false/d' "$work/values-operator.yaml" >"$work/weak.yaml"
if (scan charts/checkov/operator.yaml "$work/weak.yaml") 2>/dev/null; then
    fail "the scan passes a container that may escalate its privileges"
fi

# Checks that all copied paths exist and that .dockerignore admits them. This needs no container
# engine.
echo "check-charts: Dockerfile"
sed -n 's/^COPY \([^-].*\) [^ ]*$/\1/p' Dockerfile | tr ' ' '\n' >"$work/copied"
[ -s "$work/copied" ] || fail "Dockerfile copies nothing"
while read -r path; do
    [ -e "$path" ] || fail "Dockerfile copies $path, which does not exist"
    grep -qxF "!$path" .dockerignore || fail ".dockerignore excludes $path, which the Dockerfile copies"
done <"$work/copied"
sed -n '/^members = \[/,/\]/p' Cargo.toml | grep -o '"[^"]*"' | tr -d '"' >"$work/members"
[ -s "$work/members" ] || fail "Cargo.toml lists no members of the workspace"
while read -r member; do
    grep -qxF "${member%%/*}" "$work/copied" || fail "Dockerfile does not copy $member of the workspace"
done <"$work/members"
echo "check-charts: ok"
