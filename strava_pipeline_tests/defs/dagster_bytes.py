"""Every byte that Dagster keeps: all tables of its database, and all files of its home."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import make_url

PNG = b"\x89PNG\r\n\x1a\n"
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


def places_of(database: str, home: Path, needles: dict[str, bytes]) -> dict[str, list[str]]:
    """Where each of the needles stands: table and column, or file."""
    found: dict[str, list[str]] = {name: [] for name in needles}
    for place, held in (*_cells(database), *_files(home)):
        for name, needle in needles.items():
            if needle in held:
                found[name].append(place)
    return found


def shapes_of(name: str, text: str) -> dict[str, bytes]:
    """A text as UTF-8, as JSON writes it, and in base64 at each of its three places."""
    shapes = {"as it is": text.encode(), "as JSON": json.dumps(text)[1:-1].encode()}
    return {f"{name}, {shape}": held for shape, held in (shapes | _in_base64(text.encode())).items()}


def pictures() -> dict[str, bytes]:
    """What begins each PNG, and each PNG in base64."""
    return {"a PNG": PNG} | {f"a PNG, {shape}": held for shape, held in _in_base64(PNG).items()}


def _in_base64(held: bytes) -> dict[str, bytes]:
    """The characters of base64 that depend on nothing but ``held``, by its place among three bytes."""
    shapes = {}
    for before in range(3):
        code = base64.b64encode(b"\0" * before + held)
        whole = (before + len(held)) * 8 // 6
        shapes[f"in base64 at {before}"] = code[-(-before * 8 // 6) : whole]
    return shapes


def _cells(database: str) -> Iterator[tuple[str, bytes]]:
    address = make_url(database).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as connection:
        tables = [row[0] for row in connection.execute(_TABLES).fetchall()]
        assert len(tables) > 10
        for table in tables:
            rows = connection.execute(SQL("SELECT * FROM {}").format(Identifier(table)))
            names = [column.name for column in rows.description or []]
            for row in rows:
                for name, value in zip(names, row, strict=True):
                    yield f"{table}.{name}", _bytes_of(value)


def _bytes_of(value: Any) -> bytes:
    if not isinstance(value, bytes | memoryview):
        return str(value).encode()
    # Dagster compresses its snapshots of jobs.
    held = bytes(value)
    try:
        return held + zlib.decompress(held)
    except zlib.error:
        return held


def _files(home: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(path for path in home.rglob("*") if path.is_file()):
        yield str(path.relative_to(home)), path.read_bytes()
