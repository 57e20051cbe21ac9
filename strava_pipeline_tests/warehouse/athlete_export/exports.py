"""Athletes with something in every table, their exports, and tables compared cell by cell."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from psycopg.sql import SQL, Identifier
from sqlalchemy import CheckConstraint, Engine, MetaData, Table, func, insert, inspect, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY

from strava_pipeline.keyring import Keyring
from strava_pipeline.warehouse.athlete_export.exported_tables import ExportedTable, exported_tables
from strava_pipeline.warehouse.athlete_export.exporting import Exported, export_athlete
from strava_pipeline.warehouse.athlete_export.opened_export import open_export
from strava_pipeline.warehouse.athlete_export.restoring import Restored, restore_athlete
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.tables import activities, metadata
from strava_pipeline_tests.erasing import OTHER, two_whole_athletes
from strava_pipeline_tests.strava_stand_in import RIDER

AWKWARD = "=1+1 \t\\N \\ \"quoted\" 'it' {a,b} \u2028 \N{DROMEDARY CAMEL} \r\nNULL"
ODD_NUMBERS = [0.1, -0.0, float("nan"), float("inf"), float("-inf"), 1e-320, 123456789.123456789, None, 5.0]
WHEN = datetime(2025, 6, 10, 8, 30, 0, 123456, tzinfo=UTC)
RECORDING = b"a recording of a device" * 100
RECORDING_ID = int.from_bytes(hashlib.sha256(RECORDING).digest()[:8]) >> 1
# Columns that a restore changes on purpose.
CHANGED = {"ops.import_months": {"lake_at", "lake_outdated_at"}}


def whole_athletes(engine: Engine, keyring: Keyring) -> None:
    """Two athletes with rows in every table of an export; in those that nobody fills here with awkward values."""
    two_whole_athletes(engine, keyring)
    with engine.begin() as connection:
        connection.execute(update(notifications).values(state="sent", next_try_at=None))
    fill_all(engine, RIDER)
    fill_all(engine, OTHER)


def fill_all(engine: Engine, athlete: int) -> None:
    """Give every table of an export that has no row of an athlete one."""
    with engine.begin() as connection:
        tables = exported_tables(connection)
        # Rows of archives name their import.
        for each in sorted(tables, key=lambda each: each.full_name != "ops.archive_imports"):
            table = metadata.tables[each.full_name]
            where = text(each.condition.as_string().replace("%s", str(athlete)))
            if not connection.execute(select(func.count()).select_from(table).where(where)).scalar_one():
                connection.execute(insert(table).values(_row(table, athlete)))


def _row(table: Table, athlete: int) -> dict[str, Any]:
    known: dict[str, Any] = {
        "athlete_id": athlete,
        "activity_id": athlete * 10,
        "import_id": select(func.max(text("id"))).select_from(text("ops.archive_imports")).scalar_subquery(),
        "recording_id": RECORDING_ID,
        "body": gzip.compress(RECORDING) if table.name == "recording_bytes" else {"Cell": [AWKWARD, 1.50]},
        **_allowed(table),
        **CHOSEN.get(table.name, {}),
    }
    row = {}
    for column in table.columns:
        if column.name in known:
            row[column.name] = known[column.name]
        elif column.name != "id" or not inspect_sequence(table):
            row[column.name] = _value(column)
    return row


# Where more than one column decides what fits.
CHOSEN: dict[str, dict[str, Any]] = {
    "archive_imports": {"state": "done", "place": None},
    "recording_bytes": {"kind": "fit"},
    "notifications": {"state": "sent", "next_try_at": None},
}
_ONE_OF = re.compile(r"(\w+) IN \('([^']+)'")


def _allowed(table: Table) -> dict[str, str]:
    """The first value that is allowed in each column whose values are listed."""
    checks = [str(each.sqltext) for each in table.constraints if isinstance(each, CheckConstraint)]
    return {found[1]: found[2] for check in checks if (found := _ONE_OF.match(check))}


def inspect_sequence(table: Table) -> bool:
    return table.name in {"archive_imports", "imports", "notifications", "changed_months"}


def _value(column: Any) -> Any:
    kind = column.type
    if isinstance(kind, ARRAY):
        texts = kind.item_type.python_type is str
        return [AWKWARD, None, "", "NULL"] if texts else _numbers(kind.item_type.python_type)
    values: dict[str, Any] = {
        "TEXT": AWKWARD,
        "BIGINT": 2**62 + 1,
        "INTEGER": -7,
        "SMALLINT": 3,
        "DOUBLE": 0.1 + 0.2,
        "DOUBLE PRECISION": 0.1 + 0.2,
        "BOOLEAN": True,
        "DATE": date(2025, 6, 10),
        "JSON": {"Odd": AWKWARD, "n": [1.0, 2]},
        "JSONB": {"Odd": "x"},
    }
    return WHEN if "TIME" in str(kind).upper() or "DATETIME" in str(kind).upper() else values[str(kind).upper()]


def _numbers(kind: type) -> list[Any]:
    return ODD_NUMBERS if kind is float else [kind(0), kind(1), None]


def cells(engine: Engine, athlete: int) -> dict[str, list[str]]:
    """All rows of an athlete by table, each as Postgres writes it, but for what a restore changes on purpose."""
    with engine.connect() as connection:
        found = {}
        for table in exported_tables(connection):
            names = [name for name in _all_columns(connection, table) if name not in CHANGED.get(table.full_name, ())]
            shown = SQL(", ").join(map(Identifier, names))
            query = SQL("SELECT ROW({})::text FROM {} WHERE {}").format(shown, table.target, table.condition)
            found[table.full_name] = sorted(row[0] for row in driver_of(connection).execute(query, (athlete,)))
        return found


def _all_columns(connection: Any, table: ExportedTable) -> list[str]:
    return [column["name"] for column in inspect(connection).get_columns(table.name, table.schema)]


def export(engine: Engine, target: Path, athlete: int = RIDER, **options: Any) -> Exported:
    return export_athlete(engine, athlete, target, **{"parquet": True} | options)


def restore(engine: Engine, path: Path, **options: Any) -> Restored:
    with open_export(path) as opened:
        return restore_athlete(engine, opened, **options)


def forged(source: Path, target: Path, change: Callable[[Path, dict[str, Any]], None]) -> Path:
    """A copy of an export in a folder, changed, with a manifest whose sizes and checksums fit the changed files."""
    shutil.copytree(source, target)
    manifest = json.loads((target / "manifest.json").read_text())
    change(target, manifest)
    notes = {}
    for path in sorted(target.rglob("*")):
        name = str(path.relative_to(target))
        if path.is_file() and name != "manifest.json":
            content = path.read_bytes()
            notes[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["files"] = notes
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target


def lines_of(folder: Path, table: str) -> list[str]:
    return gzip.decompress((folder / f"tables/{table}.jsonl.gz").read_bytes()).decode().split("\n")[:-1]


def put_lines(folder: Path, table: str, lines: list[str]) -> None:
    (folder / f"tables/{table}.jsonl.gz").write_bytes(gzip.compress("".join(f"{each}\n" for each in lines).encode()))


def activity_ids(engine: Engine, athlete: int = RIDER) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(select(activities.c.id).where(activities.c.athlete_id == athlete)).scalars())


def is_untouched(engine: Engine) -> bool:
    """Whether no table of ours has a row, but for those that a migration fills."""
    with engine.connect() as connection:
        tables = [each for each in exported_tables(connection) if each.full_name != "ops.users"]
        counts = [
            connection.execute(select(func.count()).select_from(Table(each.name, MetaData(), schema=each.schema)))
            for each in tables
        ]
        people = connection.execute(text("SELECT count(*) FROM ops.users")).scalar_one()
        return not any(count.scalar_one() for count in counts) and not people
