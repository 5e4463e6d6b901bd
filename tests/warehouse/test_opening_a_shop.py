"""A warehouse is only ever read: one SELECT at a time, streamed; a locked or broken file is told in one line."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
import zlib
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from sqlalchemy import column, delete, func, insert, literal_column, select, table, text, union_all, update

from tidings.errors import WarehouseError
from tidings.warehouse.mapping import Mapping
from tidings.warehouse.reader import open_shop

SALES = {"orders": {"table": "sales", "columns": {"order_id": "id", "ordered_at": "placed"}}}
ROW = "SELECT 'A1' AS id, TIMESTAMPTZ '2024-03-01 12:00:00+00' AS placed"
TABLES = "orders: {table: sales, columns: {order_id: id, ordered_at: placed}}"
# The first three blocks of an empty file that DuckDB 2.0.0 wrote.
FROM_DUCKDB_2 = (
    "eNrt2aEKwmAQwPHPT4PYDGKxGIyOMZVFg59pYFsyDL5tPoIMDL6Ab2TdXkHEJBbfwPShhiGCqAxBUPj/ynF3cOHacVIv4mZ34yh/"
    "5B3LopC5Y9mW/bofDfqh1nEvmr2fUzvU/U7q7VaN8CRNsBYAAAAAAOArtm6StKZqWHrelvd6JQ/VPIxZHQAAAAAAfyPLJmezbO9v"
    "+eWB+OD+5/8PAAAAAMBvuQJA8jR3"
)
HOLDER = """
import duckdb, sys, time
held = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def duck(path: Path, name: str = "shop.duckdb") -> Mapping:
    return Mapping.model_validate({"database": {"kind": "duckdb", "path": name}, "tables": SALES})


def over(pattern: str, **more: object) -> Mapping:
    files = {"sales": {"parquet": pattern} | more}
    return Mapping.model_validate({"database": {"kind": "duckdb", "files": files}, "tables": SALES})


def count(warehouse) -> int:
    (row,) = warehouse.stream(select(func.count()).select_from(warehouse.tables["orders"]))
    return row[0]


@pytest.fixture
def file(tmp_path):
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute(f"CREATE TABLE sales AS {ROW}")
    return tmp_path


@pytest.fixture
def holder(file):
    """A second process that holds the shop's file for writing."""
    held = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file / "shop.duckdb")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert held.stdout is not None
    assert held.stdout.readline() == b"held\n"
    yield held
    held.communicate()


SALES_TABLE = table("sales", column("id"))
WITH_DELETE = select(literal_column("1")).add_cte(delete(SALES_TABLE).returning(SALES_TABLE.c.id).cte("gone"))


@pytest.mark.parametrize(
    "statement",
    [
        text("SELECT 1"), "SELECT 1", insert(SALES_TABLE), update(SALES_TABLE), delete(SALES_TABLE), WITH_DELETE,
        select(SALES_TABLE).with_for_update(),
    ],
    ids=["text", "string", "insert", "update", "delete", "delete in a select", "for update"],
)  # fmt: skip
def test_anything_but_a_select_is_refused(file, statement):
    with open_shop(duck(file), file) as warehouse, pytest.raises(TypeError, match="a warehouse takes one SELECT"):
        warehouse.stream(statement)


def test_a_union_is_one_select(file):
    with open_shop(duck(file), file) as warehouse:
        orders = warehouse.tables["orders"]
        both = union_all(select(orders.c.ordered_at), select(orders.c.ordered_at))

        assert len({row.ordered_at for row in warehouse.stream(both)}) == 1


@pytest.mark.parametrize(
    "function", ["set_config('transaction_read_only', 'off', true)", "lo_create(4711)", "nextval('numbers')"]
)
@pytest.mark.parametrize("kind", ["postgresql"])
def test_a_select_that_would_write_is_stopped_by_postgresql(shop, kind, function):
    warehouse = shop([f"CREATE TABLE sales AS {ROW}", "CREATE SEQUENCE numbers"], TABLES)

    with pytest.raises(WarehouseError):
        list(warehouse.stream(select(literal_column(function))))


def test_a_hostile_query_reaches_no_other_file(file, tmp_path):
    secret = tmp_path / "elsewhere.txt"
    secret.write_text("secret")
    for database in ({"kind": "duckdb", "path": "shop.duckdb"}, {"kind": "duckdb", "files": {"sales": "s/*.parquet"}}):
        (tmp_path / "s").mkdir(exist_ok=True)
        duckdb.execute(f"COPY ({ROW}) TO '{tmp_path}/s/a.parquet'")
        hostile = {"orders": {"sql": f"SELECT content AS order_id, now() AS ordered_at FROM read_text('{secret}')"}}
        mapping = Mapping.model_validate({"database": database, "tables": hostile})

        with open_shop(mapping, tmp_path) as warehouse, pytest.raises(WarehouseError, match="Permission Error"):
            list(warehouse.stream(select(warehouse.tables["orders"].c.order_id)))


def test_a_locked_file_is_told_with_the_process_that_holds_it(file, holder):
    patience = timedelta(seconds=0.3)
    with open_shop(duck(file), file, lock_wait=patience) as warehouse, pytest.raises(WarehouseError) as told:
        count(warehouse)

    assert f"(process {holder.pid})" in str(told.value)
    assert "shop.duckdb is being written by python" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_file_that_is_let_go_in_time_is_read(file, holder):
    threading.Timer(0.4, holder.communicate).start()

    with open_shop(duck(file), file) as warehouse:
        assert count(warehouse) == 1


def test_a_file_is_held_only_while_a_query_runs(file):
    with open_shop(duck(file), file) as warehouse:
        assert count(warehouse) == 1
        written = subprocess.run(
            [sys.executable, "-c", f"import duckdb; duckdb.connect({str(file / 'shop.duckdb')!r})"], check=False
        )

    assert written.returncode == 0


def test_a_warehouse_can_be_opened_again_after_it_was_closed(file):
    warehouse = open_shop(duck(file), file)
    with warehouse:
        assert count(warehouse) == 1
    with warehouse:
        assert count(warehouse) == 1


def test_a_missing_or_foreign_file_is_told_in_one_line(tmp_path):
    (tmp_path / "notes.duckdb").write_text("hello " * 5_000)

    for name, said in (("none.duckdb", "found no file"), ("notes.duckdb", "is not a DuckDB file")):
        with open_shop(duck(tmp_path, name), tmp_path) as warehouse, pytest.raises(WarehouseError, match=said):
            count(warehouse)
    with pytest.raises(WarehouseError, match=r'database.files.sales: must be readable files; found none at "'):
        open_shop(over("none/*.parquet"), tmp_path)


def test_a_file_of_a_newer_duckdb_is_told_with_the_way_out(tmp_path):
    (tmp_path / "new.duckdb").write_bytes(zlib.decompress(base64.b64decode(FROM_DUCKDB_2)))

    with open_shop(duck(tmp_path, "new.duckdb"), tmp_path) as warehouse, pytest.raises(WarehouseError) as told:
        count(warehouse)

    assert "was written by another version of DuckDB; this installation reads files up to DuckDB 1.5" in str(told.value)


def test_files_that_appear_while_the_shop_is_open_are_read_and_half_written_ones_are_not(tmp_path):
    for name in ("a.parquet", "_b.parquet", ".c.parquet", "d.parquet.tmp"):
        duckdb.execute(f"COPY ({ROW}) TO '{tmp_path}/{name}' (FORMAT parquet)")
    (tmp_path / ".e.parquet").write_text("half")

    with open_shop(over("*.parquet"), tmp_path) as warehouse:
        before = count(warehouse)
        os.replace(tmp_path / "_b.parquet", tmp_path / "b.parquet")

        assert (before, count(warehouse)) == (1, 2)


def test_a_result_is_streamed_and_never_held(shop, kind):
    many = "CREATE TABLE sales AS SELECT n::varchar AS id, now() AS placed FROM generate_series(1, 400000) AS t(n)"
    warehouse = shop([many], TABLES)
    query = select(warehouse.tables["orders"].c.order_id, warehouse.tables["orders"].c.ordered_at)
    next(warehouse.stream(query))

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before, most, seen = resident(), 0, 0
    for _ in warehouse.stream(query, batch=5_000):
        seen += 1
        if seen % 50_000 == 0:
            most = max(most, resident())

    assert seen == 400_000
    # As Python tuples the whole result would take about 80 MB.
    assert most - before < 40 * 2**20, f"{(most - before) / 2**20:.0f} MB on {kind}"


def test_two_results_can_be_read_side_by_side(shop):
    many = "CREATE TABLE sales AS SELECT n::varchar AS id, now() AS placed FROM generate_series(1, 5000) AS t(n)"
    warehouse = shop([many], TABLES)
    query = select(warehouse.tables["orders"].c.order_id)

    pairs = list(zip(warehouse.stream(query, batch=100), warehouse.stream(query, batch=70), strict=True))

    assert len(pairs) == 5_000


def test_a_reader_that_stops_early_leaves_nothing_open(shop):
    many = "CREATE TABLE sales AS SELECT n::varchar AS id, now() AS placed FROM generate_series(1, 50000) AS t(n)"
    warehouse = shop([many], TABLES)

    for _ in range(20):
        rows = warehouse.stream(select(warehouse.tables["orders"].c.order_id), batch=10)
        next(rows)
        rows.close()

    assert count(warehouse) == 50_000


def test_a_server_that_is_not_there_is_told_without_its_password(tmp_path):
    mapping = Mapping.model_validate({"database": {"kind": "postgresql", "connection": "warehouse"}, "tables": SALES})

    for url, said in (
        ("postgresql://shop:hunter2@127.0.0.1:1/shop", "(?i)connection"),
        ("nonsense://shop:hunter2@host/shop", 'connection "warehouse" must be an address for postgresql'),
        ("hunter2", 'connection "warehouse" must be an address for postgresql'),
    ):
        with pytest.raises(WarehouseError, match=said) as told, open_shop(mapping, tmp_path, url) as warehouse:
            count(warehouse)
        assert "hunter2" not in str(told.value)
        assert "\n" not in str(told.value)
    with pytest.raises(WarehouseError, match='connection "warehouse" is not set'):
        open_shop(mapping, tmp_path)


def test_an_error_of_the_database_shows_no_value_of_a_row(shop, kind):
    made = "CREATE TABLE sales AS SELECT 'ann@example.com'::varchar AS id, now() AS placed"
    broken = """
orders:
  sql: "SELECT CAST(id AS integer) AS id, placed FROM sales"
  columns: {order_id: id, ordered_at: placed}
"""
    warehouse = shop([made], broken)

    with pytest.raises(WarehouseError) as told:
        list(warehouse.stream(select(warehouse.tables["orders"].c.order_id)))

    assert "ann@example.com" not in str(told.value)
    assert told.value.__cause__ is None


def test_a_query_that_takes_too_long_is_stopped(new_postgres, tmp_path):
    database = {"kind": "postgresql", "connection": "warehouse", "statement_timeout": "1s"}
    mapping = Mapping.model_validate({"database": database, "tables": {}})

    with open_shop(mapping, tmp_path, new_postgres()) as warehouse, pytest.raises(WarehouseError, match="timeout"):
        list(warehouse.stream(select(func.pg_sleep(5))))


def test_a_csv_without_a_header_is_read_by_the_names_given_and_a_cut_line_is_set_aside(tmp_path):
    (tmp_path / "s.csv").write_text('A1,2024-03-01 12:00:00\n"A,2",2024-03-02\n007,1.3.24\nA4')
    files = {"sales": {"csv": "s.csv", "header": False, "columns": ["id", "placed"]}}
    mapping = Mapping.model_validate({"database": {"kind": "duckdb", "files": files}, "tables": SALES})

    with open_shop(mapping, tmp_path) as warehouse:
        orders = warehouse.tables["orders"]

        assert [row[0] for row in warehouse.stream(select(orders.c.order_id).order_by("order_id"))] == ["A,2", "A1"]
        assert warehouse.set_aside() == {"sales": 1}
