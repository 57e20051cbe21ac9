"""Backups of both databases, ours and Dagster's: a folder with two dumps and a note of what is in them.

Ours is dumped first. What happens in between, Dagster's dump alone has: runs of an athlete who is erased meanwhile are
gone there, and our tables, which still have the athlete, have it erased again. The other way round Dagster would bring
back runs of somebody whom our tables know to be erased for good, and nobody would look.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, inspect

from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.local import dumps, private_files
from strava_pipeline.local.part_folder import part_folder, put_in_place
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.addresses import connection_parameters, parse_url, without_password
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.connecting import is_pooled
from strava_pipeline.warehouse.engine import (
    ensure_dagster_url,
    ensure_owner_url,
    open_engine,
)
from strava_pipeline.warehouse.migrate import HEAD, Prepared, prepare, stored_revision
from strava_pipeline.warehouse.server_facts import server_facts
from strava_pipeline.warehouse.tokens.key_checks import read_use

TABLES, DAGSTER, NOTE = "tables.dump", "dagster.dump", "backup.json"
OURS, THEIRS = "STRAVA_DATABASE_OWNER_URL", "DAGSTER_POSTGRES_URL"
_FORM = 1


@dataclass(frozen=True)
class Backup:
    """What a backup's note says: ``made_at`` (ISO 8601, UTC) is when it began.

    ``key_ids``: the keys of STRAVA_TOKEN_KEYS without which its tokens cannot be decrypted. ``has_dagster``: whether
    Dagster's database is in it.
    """

    made_at: str
    program: str
    revision: str
    postgres: str
    key_ids: list[str]
    has_dagster: bool
    form: int = _FORM


def make_backup(settings: Settings, folder: Path, *, with_dagster: bool) -> tuple[Path, Backup]:
    """Dump the databases into a new folder below ``folder``; return its path and note. Everything may go on meanwhile.

    The folder gets its name when all is on disk; what a process that died left is removed by the next one.
    ``WarehouseError`` if the tables are of another version, or if ``pg_dump`` fails.
    """
    private_files.make_folder(folder)
    began = datetime.now(UTC)
    ours = ensure_owner_url(settings)
    with _looked_at(ours, OURS) as connection:
        revision, server = stored_revision(connection), server_facts(connection)
        if not revision:
            raise WarehouseError("the database has no tables yet: there is nothing to back up")
        key_ids = read_use(connection).needed() if revision == HEAD else []
    made_at, program = f"{began:%Y-%m-%dT%H:%M:%SZ}", version("strava-pipeline")
    note = Backup(made_at, program, revision, server.version, key_ids, with_dagster)
    name = f"{began:%Y%m%dT%H%M%SZ}"
    if (folder / name).exists():
        raise WarehouseError(f"{folder / name} exists already: another backup was begun in the same second")
    with part_folder(folder, name, of_any_name=True) as part:
        _dump(ours, server.major, part / TABLES)
        if with_dagster:
            theirs = _dagster_url(settings)
            with _looked_at(theirs, THEIRS) as connection:
                major = server_facts(connection).major
            _dump(theirs, major, part / DAGSTER)
        private_files.write_atomically(part / NOTE, json.dumps(asdict(note), indent=2).encode() + b"\n")
        put_in_place(part, folder / name)
    return folder / name, note


def _dump(url: URL, server_major: int, path: Path) -> None:
    # Private before anything is in it.
    private_files.create(path).close()
    dumps.dump(_address(url), server_major, path)


def read_note(backup: Path) -> Backup:
    """Return a backup's note; ``ConfigurationError`` if the folder holds no backup, or one of a newer program."""
    try:
        told: dict[str, Any] = json.loads((backup / NOTE).read_text(encoding="utf-8"))
        form = told.get("form")
        note = Backup(**told) if form == _FORM else None
    except (OSError, ValueError, TypeError, AttributeError):
        raise ConfigurationError(f"{backup} holds no whole backup: {NOTE} is missing, or is not usable") from None
    if note is None or note.revision > HEAD:
        raise ConfigurationError(f"the backup in {backup} was made by a newer program: install that one first")
    return note


def load_backup(settings: Settings, backup: Path, *, with_dagster: bool) -> Prepared:
    """Load a backup into empty databases, each in one transaction, and bring the tables to this program's revision.

    ``ConfigurationError`` if a database is not empty; nothing is loaded then. Ours is loaded last: if that fails,
    Dagster's is there already, and is left out of the next try.
    """
    note = read_note(backup)
    ours, theirs = ensure_owner_url(settings), _dagster_url(settings)
    with_dagster = with_dagster and note.has_dagster
    majors = []
    for url, setting in ((ours, OURS), (theirs, THEIRS)) if with_dagster else ((ours, OURS),):
        with _looked_at(url, setting) as connection:
            _refuse_tables(connection, url)
            majors.append(server_facts(connection).major)
    if with_dagster:
        dumps.load(_address(theirs), majors[1], backup / DAGSTER)
    dumps.load(_address(ours), majors[0], backup / TABLES)
    return prepare(settings)


def _refuse_tables(connection: Connection, url: URL) -> None:
    schemas = [name for name in inspect(connection).get_schema_names() if name != "information_schema"]
    if any(inspect(connection).get_table_names(schema=name) for name in schemas):
        raise ConfigurationError(
            f"the database at {without_password(url)} is not empty: a backup is loaded into an empty one only; name"
            " another one, or drop it and create it again"
        )


def _dagster_url(settings: Settings) -> URL:
    return parse_url(ensure_dagster_url(settings), THEIRS)


@contextmanager
def _looked_at(url: URL, setting: str) -> Iterator[Connection]:
    """A connection to a database that is dumped or loaded; ``ConfigurationError`` behind a pooler."""
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            if is_pooled(driver_of(connection)):
                # pg_dump empties the search path of its session, which the pooler lends to others afterwards.
                raise ConfigurationError(
                    f"{without_password(url)} is a pooler, where pg_dump would leave its settings to others: name the"
                    f" server itself for this command, by {setting}"
                )
            yield connection
    finally:
        engine.dispose()


def _address(url: URL) -> dumps.Address:
    parameters = connection_parameters(url)
    if "sslpassword" in parameters:
        raise ConfigurationError(
            f"the address of {without_password(url)} has sslpassword, which everybody on this machine could read in"
            " pg_dump's arguments: use a key without a password"
        )
    return dumps.Address.of(parameters)
