"""Writes the Parquet files of the tests: python make.py FOLDER, with pyarrow and duckdb."""

import datetime as dt
import decimal
import sys

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

folder = sys.argv[1]
noon = dt.datetime(2026, 11, 21, 9, 30, 0, 123456)
decimals = [decimal.Decimal("12.50"), decimal.Decimal("-0.05"), None]
columns = {
    "id": pa.array([1, 2, 3], pa.int64()),
    "Name": pa.array(["Ana", "", None], pa.string()),
    "small": pa.array([-1, 127, None], pa.int8()),
    "big": pa.array([0, 2**63 - 1, None], pa.uint64()),
    "whole": pa.array([1.0, -2.0, None], pa.float64()),
    "real": pa.array([0.1, 1e300, None], pa.float64()),
    "single": pa.array([0.5, -1.25, None], pa.float32()),
    "ok": pa.array([True, False, None], pa.bool_()),
    "price": pa.array(decimals, pa.decimal128(10, 2)),
    "day": pa.array([dt.date(2026, 11, 21), dt.date(1969, 12, 31), None], pa.date32()),
    "micros": pa.array([noon, dt.datetime(1969, 12, 31, 23, 59, 59, 999999), None], pa.timestamp("us")),
    "zoned": pa.array([noon, noon, None], pa.timestamp("ms", tz="UTC")),
    "nanos": pa.array([1795253400123456789, -1, None], pa.timestamp("ns")),
    "bytes": pa.array([b"abc", b"d", None], pa.binary()),
    "list": pa.array([[1, 2], [], None], pa.list_(pa.int32())),
    "group": pa.array([{"a": "x\"y", "b": [1.5]}, {"a": None, "b": None}, None],
                      pa.struct([("a", pa.string()), ("b", pa.list_(pa.float64()))])),
    "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
    "odd": pa.array([[noon], [], None], pa.list_(pa.timestamp("ns"))),
}
table = pa.table(columns)
for compression in ["NONE", "SNAPPY", "GZIP", "ZSTD", "LZ4"]:
    name = f"{folder}/all-{compression.lower()}.parquet"
    pq.write_table(table, name, compression=compression, row_group_size=2)
pq.write_table(pa.table({"at": columns["micros"]}), f"{folder}/int96.parquet", use_deprecated_int96_timestamps=True)
pq.write_table(table.select(["id"]), f"{folder}/brotli.parquet", compression="BROTLI")
duckdb.sql(f"""
    COPY (SELECT range AS id, 'n' || range AS name, range / 4 AS quarter,
                 TIMESTAMP '2026-01-01 00:00:00' + to_minutes(range) AS at,
                 uuid '00112233-4455-6677-8899-aabbccddeeff' AS uuid,
                 [range, range + 1] AS pair, {{'x': range}} AS point, 1.5::DECIMAL(4, 2) AS price
          FROM range(1000))
    TO '{folder}/duckdb.parquet' (FORMAT parquet)
""")
