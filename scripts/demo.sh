#!/usr/bin/env bash
# Starts a cluster of three shards on this machine, loads two tables, runs private queries and
# checks every answer. Exits 0 only if all answers are right. `make demo` builds the programs first.
#
# The programs are in $OPAQUE_BIN_DIR, which defaults to the output of `make build`. The script
# writes only to a temporary directory and leaves no process running.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${OPAQUE_BIN_DIR:-$HOME/.cache/opaque/bin}
export PATH="$bin:$PATH"
work=$(mktemp -d "${TMPDIR:-/tmp}/opaque-demo.XXXXXX")
export OPAQUE_HOME="$work/home"
cluster=
asked=0

if [ -t 1 ]; then
    bold=$'\e[1m' good=$'\e[32m' bad=$'\e[31m' plain=$'\e[0m'
else
    bold='' good='' bad='' plain=''
fi

section() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

fail() {
    printf '%sdemo: %s%s\n' "$bad" "$*" "$plain" >&2
    exit 1
}

# Runs on every exit, also after a signal. Stops the nodes, and shows their log if something failed.
clean_up() {
    local status=$?
    trap - EXIT INT TERM
    if [ -n "$cluster" ]; then
        kill -TERM "$cluster" 2>/dev/null || true
        for _ in $(seq 100); do
            kill -0 "$cluster" 2>/dev/null || break
            sleep 0.1
        done
        # Kill the rest of the process group.
        kill -KILL -- "-$cluster" 2>/dev/null || true
        wait "$cluster" 2>/dev/null || true
    fi
    if [ "$status" -ne 0 ] && [ -s "$work/dev.log" ]; then
        printf '\nThe end of the log of opaque dev:\n' >&2
        tail -n 30 "$work/dev.log" >&2
    fi
    rm -rf "$work"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ask SQL EXPECTED [OPTION...]: shows the statement and its answer, then repeats the query in CSV
# format and compares the rows without the header with EXPECTED ('' for no rows).
ask() {
    local sql=$1 expected=$2 found
    shift 2
    printf '\n%s%s%s\n' "$bold" "$sql" "$plain"
    opaque query "$@" "$sql" || fail "the query failed"
    found=$(opaque query "$@" --format csv "$sql" 2>"$work/query.err") || {
        cat "$work/query.err" >&2
        fail "the query failed"
    }
    found=$(tail -n +2 <<<"$found" | tr -d '\r')
    if [ "$found" != "$expected" ]; then
        printf 'expected:\n%s\nfound:\n%s\n' "$expected" "$found" >&2
        fail "wrong answer"
    fi
    asked=$((asked + 1))
    printf '%sright%s\n' "$good" "$plain"
}

for program in opaque opaque-node; do
    command -v "$program" >/dev/null || fail "$program is not in $bin: run \`make build\`"
done

section "1. Three shards, each in a separate process, with mutual TLS among them"
# A separate process group allows to kill a stuck node without this script.
set -m
opaque dev --shards 3 --data-dir "$work/data" >"$work/dev.log" 2>&1 </dev/null &
cluster=$!
set +m
opaque status --wait 60s || fail "the cluster does not serve"

section "2. Two tables: nine rows of weather, 135,233 cities"
opaque load examples/weather/schema.sql examples/weather/weather.csv
opaque load examples/cities/schema.sql examples/cities/cities.csv.zst

section "3. Weather: the nodes see only ciphertext, and do the same work for every value"
ask "SELECT country, temperature FROM weather WHERE city = 'Santiago'" "CL,21"
ask "SELECT city FROM weather WHERE conditions = 'Sunny'" $'Nairobi\nCairo'
ask "SELECT COUNT(*) FROM weather WHERE conditions = 'Sunny'" "2"
ask "SELECT COUNT(*) FROM weather WHERE conditions <> 'Sunny'" "7"
ask "SELECT country, temperature FROM weather WHERE city = 'Atlantis'" ""
ask "SELECT city, temperature FROM weather WHERE city IN ('Tokyo', 'Cairo', 'London')" \
    $'Tokyo,27\nCairo,33\nLondon,11'

section "4. A query without a value to hide is a public scan"
ask "SELECT city, temperature FROM weather ORDER BY temperature DESC LIMIT 3" \
    $'Cairo,33\nTokyo,27\nNairobi,24'

section "5. Cities: the cost of a query"
ask "SELECT name, country, population FROM cities WHERE id = 3413829" \
    "Reykjavík,IS,118918" --timing
ask "SELECT name, country, population FROM cities WHERE id = -1" "" --timing
ask "SELECT country, population, timezone FROM cities WHERE name = 'Zürich'" \
    "CH,341730,Europe/Zurich" --timing
# Ordering needs every row. Four pages contain these four rows for any page size.
ask "SELECT country, admin1, population FROM cities WHERE name = 'Cairo' ORDER BY population DESC" \
    $'EG,11,7734614\nUS,GA,9752\nUS,IL,2467\nUS,NY,1402' --timing --pages 4
ask "SELECT COUNT(*) FROM cities WHERE country = 'US'" "16677" --timing
ask "SELECT country, population FROM cities WHERE name IN ('Nuuk', 'Timbuktu', 'Cork')" \
    $'GL,14798\nIE,190384\nML,32460' --timing

section "$asked questions, every answer right."
