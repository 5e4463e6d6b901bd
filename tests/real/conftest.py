"""Real shops, read through their mappings: from the files with DuckDB, and from the same rows in PostgreSQL."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from tidings.warehouse import duck
from tidings.warehouse.mapping import Mapping, parse
from tidings.warehouse.reader import Warehouse, open_shop

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from real_shop import Lived, live

_TYPES = {"BIGINT": "bigint", "DOUBLE": "double precision"}


def copied(mapping: Mapping, folder: Path, url: str) -> None:
    """Copy every file of a DuckDB mapping into PostgreSQL, as tables with the same names and columns."""
    plain = url.replace("postgresql+psycopg://", "postgresql://", 1)
    with duckdb.connect() as source, psycopg.connect(plain) as target, tempfile.TemporaryDirectory() as between:
        for name, files in mapping.database.files.items():
            rows = source.sql(f"SELECT * FROM {duck.scan(files, folder)}")
            columns = zip(rows.columns, (_TYPES.get(str(one), "text") for one in rows.types), strict=True)
            target.execute(f"CREATE TABLE {name} ({', '.join(f'{quoted(one)} {kind}' for one, kind in columns)})")
            rows.write_csv(f"{between}/{name}.csv", header=False)
            with (
                target.cursor().copy(f"COPY {name} FROM STDIN (FORMAT csv)") as copy,
                open(f"{between}/{name}.csv", "rb") as written,
            ):
                while some := written.read(1 << 20):
                    copy.write(some)
            target.execute(f"ANALYZE {name}")


def quoted(name: str) -> str:
    return f'"{name}"'


@pytest.fixture(scope="session")
def loaded(shared: Path, kept_postgres: Callable[[], str]) -> Callable[[str], str]:
    """Call it with a mapping's name for the URL of a PostgreSQL database that holds its rows."""
    urls: dict[str, str] = {}

    def load(name: str) -> str:
        if name not in urls:
            urls[name] = kept_postgres()
            copied(Mapping.model_validate(content(name)), shared / "data", urls[name])
        return urls[name]

    return load


def content(name: str) -> dict[str, Any]:
    found: dict[str, Any] = parse((HERE / f"{name}.yaml").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="session")
def _real(shared: Path, loaded: Callable[[str], str]) -> Iterator[Callable[[str, str], Warehouse]]:
    opened: dict[tuple[str, str], Warehouse] = {}

    def open_real(name: str, kind: str) -> Warehouse:
        if (name, kind) not in opened:
            given, url = content(name), None
            if kind == "postgresql":
                url = loaded(name)
                given["database"] = {"kind": "postgresql", "connection": "warehouse"}
            opened[name, kind] = open_shop(Mapping.model_validate(given), shared / "data", url)
        return opened[name, kind]

    yield open_real
    for one in opened.values():
        one.close()


@pytest.fixture(params=["duckdb", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def rees46(_real: Callable[[str, str], Warehouse], kind: str) -> Warehouse:
    """REES46, October 2019: a clickstream."""
    return _real("rees46", kind)


@pytest.fixture
def online_retail(_real: Callable[[str, str], Warehouse], kind: str) -> Warehouse:
    """Online Retail II, 2009-2010: a wholesaler's invoices."""
    return _real("online_retail", kind)


@pytest.fixture(scope="session")
def lived(
    shared: Path,
    loaded: Callable[[str], str],
    kept_postgres: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str, str], Lived]]:
    """Call it for a real shop whose whole job was done once, by name and kind of its databases."""
    done: dict[tuple[str, str], Lived] = {}
    with ExitStack() as stack:

        def do(name: str, kind: str) -> Lived:
            if (name, kind) not in done:
                urls = (loaded(name), kept_postgres()) if kind == "postgresql" else None
                folder = tmp_path_factory.mktemp(f"{name}-{kind}")
                done[name, kind] = stack.enter_context(live(name, folder, shared / "data", urls))
            return done[name, kind]

        yield do
