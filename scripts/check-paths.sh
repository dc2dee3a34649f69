#!/usr/bin/env bash
# Checks that files, links and sections named in documents and comments exist. `make lint` calls
# this script.
#
#   scripts/check-paths.sh [--self-test]
#
# It reads all *.md files (only the newest section of CHANGELOG.md), and the comments of Rust files,
# protocol buffers, shell scripts, YAML, TOML, Makefile and Dockerfile. It checks
#   names      that contain a slash and end in .rs .md .sh .yaml .toml .proto, that begin with a
#              top-level folder of this repository, or that stand in backticks and end in a slash;
#   files      without a slash that end in .rs .md .sh .proto, and folders in backticks whose only
#              slash is the last character: something here must have that name;
#   links      of Markdown to files here, and the heading after `#`;
#   sections   of the engine's specification (`ENGINE.md §7.2`);
#   decisions  by number (`decision 009`, `ADR 009`).
#
# A name is looked up in the folder of the file that contains it, then in the repository's root, in
# the file's crate and in the crate's `src/`. `*` matches any text, and docs/decisions/009 the
# decision with that number. Decisions are not exempt: when a file moves, correct its name there
# too, and when it is deleted, describe it without a path.
#
# The script skips names that are not files of this repository: URLs, absolute paths, host names
# (`opaque.dev/table`), words with one of `~ $ < > { }`, and words with a part in upper case
# (`OPAQUE_HOME/public`).
#
# `--self-test` adds a dead name of each kind to a copy and fails unless exactly those are reported.
set -euo pipefail
cd "$(dirname "$0")/.."

# Names that look like files of this repository but need not exist, with the reason.
allowed() {
    case $1 in
    fuzz/target | fuzz/corpus | fuzz/coverage | fuzz/artifacts) ;; # built, never committed (.gitignore)
    *) return 1 ;;
    esac
}

# Prints all files and folders except build output.
everything() {
    find . \( -name .git -o -name target -o -path ./fuzz/corpus -o -path ./fuzz/artifacts \) -prune \
        -o -print | sed 's|^\./||'
}

# candidates FILE...: prints lines of FILE, line, kind and name, separated by tabs.
candidates() {
    awk -v folders="$folders" '
    function emit(kind, name) { printf "%s\t%d\t%s\t%s\n", FILENAME, FNR, kind, name }

    # Returns the comment of a line of code, or an empty string.
    function comment(line, mark,    at) {
        if (line ~ "^[ \t]*" mark) { sub("^[ \t]*" mark "[/!]*", "", line); return line }
        if (match(line, "[;{,)] " mark " ")) return substr(line, RSTART + RLENGTH)
        return ""
    }

    function look(text,    i, count, words, word, rest) {
        rest = text
        while (match(rest, /(decisions?|ADRs?) [0-9][0-9][0-9]/)) {
            emit("decision", substr(rest, RSTART + RLENGTH - 3, 3))
            rest = substr(rest, RSTART + RLENGTH)
        }
        rest = text
        while (match(rest, /ENGINE\.md[`)]* §[0-9]+(\.[0-9]+)?/)) {
            word = substr(rest, RSTART, RLENGTH)
            sub(/.*§/, "", word)
            emit("section", word)
            rest = substr(rest, RSTART + RLENGTH)
        }
        gsub(/[a-z0-9+]+:\/\/[^ )>`"]*/, " ", text)
        rest = text
        while (match(rest, /`[A-Za-z0-9_.-]+(\/[A-Za-z0-9_.-]+)*\/`/)) {
            emit("name", substr(rest, RSTART + 1, RLENGTH - 2))
            rest = substr(rest, RSTART + RLENGTH)
        }
        gsub(/[^A-Za-z0-9_.\/~$*{}<>-]/, " ", text)
        count = split(text, words, " ")
        for (i = 1; i <= count; i++) {
            word = words[i]
            sub(/[.]+$/, "", word)
            sub(/\/+$/, "", word)
            if (word ~ /[~$<>{}]/ || word ~ /^\//) continue
            if (word ~ "^(" folders ")/") emit("name", word)
            else if (word ~ /\/.*\.(rs|md|sh|yaml|toml|proto)$/) emit("name", word)
            else if (word ~ /^[A-Za-z0-9_-]+\.(rs|md|sh|proto)$/) emit("file", word)
        }
    }

    FNR == 1 { sections = 0; stop = 0 }
    FILENAME ~ /CHANGELOG\.md$/ && /^## / && ++sections == 2 { stop = 1 }
    stop { next }
    FILENAME ~ /\.(rs|proto)$/ { look(comment($0, "//")); next }
    FILENAME !~ /\.md$/ { look(comment($0, "#")); next }
    {
        line = rest = $0
        while (match(rest, /\]\([^) ]+\)/)) {
            emit("link", substr(rest, RSTART + 2, RLENGTH - 3))
            rest = substr(rest, RSTART + RLENGTH)
        }
        gsub(/\]\([^) ]+\)/, "] ", line)
        look(line)
    }' "$@"
}

# anchors FILE: prints the fragments that GitHub creates for its headings.
anchors() {
    awk '
    /^```/ { fenced = !fenced }
    !fenced && /^#+ / {
        sub(/^#+ +/, "")
        gsub(/\]\([^)]*\)/, "]")
        text = tolower($0)
        gsub(/[^a-z0-9_ \200-\377-]/, "", text)
        gsub(/ /, "-", text)
        print text (seen[text] ? "-" seen[text] : "")
        seen[text]++
    }' "$1"
}

# plain PATH: sets `plain` to PATH without `.` and `..`, or to an empty string if PATH leaves the
# repository.
plain() {
    local part parts kept=()
    IFS=/ read -ra parts <<<"$1"
    for part in "${parts[@]}"; do
        case $part in
        '' | .) ;;
        ..) [ ${#kept[@]} -gt 0 ] || { plain=''; return; }; unset 'kept[-1]' ;;
        *) kept+=("$part") ;;
        esac
    done
    local IFS=/
    plain="${kept[*]}"
}

# exists FROM NAME: whether NAME, as written in the file FROM, is a file or folder.
exists() {
    local from=$1 name=$2 folder crate base
    folder=$(dirname "$from")
    crate=$folder
    while [ "$crate" != . ] && [ -z "${known[$crate/Cargo.toml]-}" ]; do crate=$(dirname "$crate"); done
    # `kernel/` may be a folder of the module that the text describes.
    if [[ $name =~ ^[^/]+/$ ]]; then [ -n "${basenames[${name%/}]-}" ]; return; fi
    for base in "$folder" . "$crate" "$crate/src"; do
        plain "$base/$name"
        [ -n "$plain" ] || continue
        if [ -n "${known[$plain]-}" ]; then return 0; fi
        if [[ $plain == *'*'* ]] && compgen -G "$plain" >/dev/null; then return 0; fi
        # docs/decisions/009 is short for the file that begins with that number.
        if [[ $plain =~ ^docs/decisions/[0-9]{3}$ ]] && compgen -G "$plain-*" >/dev/null; then return 0; fi
    done
    return 1
}

# elsewhere NAME: whether NAME is outside this repository, or stands for several names.
elsewhere() {
    [[ $1 =~ (^|/)[A-Z][A-Z_]+(/|$) ]] || [[ $1 =~ ^[a-z0-9-]+(\.[a-z0-9-]+)+/ ]] || allowed "$1"
}

check() {
    local list file line kind name target heading dead=0
    local -A known basenames sections
    mapfile -t list < <(everything)
    for name in "${list[@]}"; do
        known[$name]=1
        basenames[${name##*/}]=1
    done
    local folders
    folders=$(for name in "${list[@]}"; do
        [[ $name == */* && $name != .*/* ]] && echo "${name%%/*}"
    done | sort -u | paste -sd '|')
    while read -r name; do sections[$name]=1; done \
        < <(sed -nE 's/^#+ ([0-9]+(\.[0-9]+)?)\.? .*/\1/p' docs/ENGINE.md)
    report() { echo "$file:$line: $*"; dead=$((dead + 1)); }
    while IFS=$'\t' read -r file line kind name; do
        case $kind in
        name) exists "$file" "$name" || elsewhere "$name" || report "no file or folder $name" ;;
        file) [ -n "${basenames[$name]-}" ] || report "no file has the name $name" ;;
        section) [ -n "${sections[$name]-}" ] || report "docs/ENGINE.md has no section $name" ;;
        decision) compgen -G "docs/decisions/$name-*.md" >/dev/null || report "no decision $name" ;;
        link)
            case $name in *://* | mailto:*) continue ;; esac
            target=${name%%#*}
            heading=''
            [[ $name == *'#'* ]] && heading=${name#*#}
            if [ -n "$target" ]; then plain "$(dirname "$file")/$target"; else plain=$file; fi
            if [ -z "$plain" ] || [ -z "${known[$plain]-}" ]; then
                report "dead link: no file or folder $name"
            elif [ -n "$heading" ] && ! anchors "$plain" | grep -qxF -- "$heading"; then
                report "dead link: $plain has no heading #$heading"
            fi
            ;;
        esac
    done < <(printf '%s\n' "${list[@]}" | grep -E '\.(md|rs|proto|sh|yaml|toml)$|(^|/)(Makefile|Dockerfile)$' \
        | tr '\n' '\0' | xargs -0 bash -c "$(declare -f candidates); folders='$folders'; candidates \"\$@\"" candidates)
    if [ "$dead" -gt 0 ]; then
        echo "check-paths: $dead names do not exist: write the path from the root, or remove it" >&2
        return 1
    fi
}

# plant FILE: adds the lines of standard input to FILE. The prefix `DEAD ` of a line is removed, and
# its position is added to `expected`.
plant() {
    local text number=0
    [ ! -e "$1" ] || number=$(wc -l <"$1")
    while IFS= read -r text; do
        number=$((number + 1))
        [ "$text" = "${text#DEAD }" ] || echo "$1:$number:" >>expected
        echo "${text#DEAD }" >>"$1"
    done
}

self_test() {
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    everything | tr '\n' '\0' | xargs -0 tar --create --no-recursion | tar --extract --directory "$copy"
    cd "$copy"
    plant docs/planted.md <<'TEXT'
# One `heading`, twice
# One `heading`, twice
Alive: `pir/src/scan.rs`, `src/`, docs/decisions/009, ADR 009, ENGINE.md §7.2, `charts/opaque/ci/*.yaml`,
[link](ENGINE.md#72-arithmetic-of-the-diagonals), [here](#one-heading-twice-1), <https://a.example/x/gone.md>.
Skipped: /etc/gone.toml, ~/.cache/gone.sh, `opaque.dev/gone`, `OPAQUE_HOME/gone.toml`, `fuzz/artifacts/TARGET`.
DEAD The file `pir/src/gone.rs` with its extension.
DEAD The folder pir/gone below one that exists.
DEAD The folder `gone/`.
DEAD The folder `gone/inner/`.
DEAD The file `gone.rs` without a folder.
DEAD Two folders up: `../../README.md`.
DEAD The pattern `charts/opaque/gone/*.yaml`.
DEAD A [file](gone.md).
DEAD A [heading](ENGINE.md#gone).
DEAD A heading [here](#one-heading-twice-2).
DEAD Section ENGINE.md §7.99.
DEAD Section `docs/ENGINE.md` §99.
DEAD Sorted out by decision 999.
TEXT
    plant pir/src/scan.rs <<'TEXT'
// Alive: `scan/kernel.rs`, pir/tests/noise.rs, tests/noise.rs, src/scan.rs.
const PLANTED: &str = "pir/src/gone.rs"; // Code is not read, the comment behind it is: pir/src/scan.rs.
DEAD /// The kernel of scan/gone.rs.
DEAD const PLANTED: &str = ""; // As in pir/src/gone.rs.
TEXT
    plant scripts/fuzz.sh <<'TEXT'
DEAD # See `docs/gone.md`.
TEXT
    (check) >reported 2>/dev/null && { echo "check-paths: the planted names were not reported" >&2; exit 1; }
    if ! diff <(sort expected) <(sed -E 's/^([^:]*:[0-9]+:).*/\1/' reported | sort) >&2; then
        echo "check-paths: < was planted and not reported, > was reported and not planted" >&2
        exit 1
    fi
}

case ${1-} in
'') check ;;
--self-test) self_test ;;
*)
    echo "usage: scripts/check-paths.sh [--self-test]" >&2
    exit 2
    ;;
esac
