"""Looks at a whole export before the first row of it is written: checksums, rows, and what they refer to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.warehouse.athlete_export.exported_tables import ACTIVITIES, SEGMENTS, ExportedTable
from strava_pipeline.warehouse.athlete_export.layout import (
    ACCOUNT,
    LONGEST_ACCOUNT,
    LONGEST_RECORDING,
    RECORDING_BYTES,
    recording_file,
)
from strava_pipeline.warehouse.athlete_export.manifest import Manifest
from strava_pipeline.warehouse.athlete_export.opened_export import OpenedExport
from strava_pipeline.warehouse.athlete_export.restored_rows import Row, read_rows
from strava_pipeline.warehouse.migrate import HEAD
from strava_pipeline.warehouse.states import GrantState

# Columns, of any table, with the number of a row in another one, which may get another number here.
REFERENCES: Final[Mapping[str, str]] = {"import_id": "ops.archive_imports"}
_HAD_GRANT: Final = frozenset({GrantState.ACTIVE, GrantState.NEEDS_REAUTH})


@dataclass(frozen=True)
class Account:
    """What an export tells of the connection: since when, and whether there was a grant."""

    connected_at: datetime | None
    had_grant: bool


@dataclass
class Found:
    """What all rows hold: by table the numbers of its rows, the ``activities`` that any row names, the account."""

    account: Account
    numbers: dict[str, list[int]] = field(default_factory=dict)
    activities: set[int] = field(default_factory=set)
    _stored: set[int] = field(default_factory=set)
    _without_owner: set[int] = field(default_factory=set)
    _segments: set[int] = field(default_factory=set)
    _ridden: set[int] = field(default_factory=set)
    _referred: dict[str, set[int]] = field(default_factory=dict)
    _recordings: int = 0

    def add(self, table: ExportedTable, row: Row, manifest: Manifest) -> None:
        """Note what a row holds; ``UnreadableFile`` if its recording is missing."""
        name = table.full_name
        activity = row[table.activity] if table.activity else None
        if activity is not None:
            self.activities.add(activity)
            if name == ACTIVITIES:
                self._stored.add(activity)
            if table.owner is None:
                self._without_owner.add(activity)
        if name == SEGMENTS:
            self._segments.add(row["id"])
        elif "segment_id" in row:
            self._ridden.add(row["segment_id"])
        if name == RECORDING_BYTES:
            self._recordings += 1
            _refuse_recording(row, manifest)
        if table.numbered is not None:
            self.numbers.setdefault(name, []).append(row[table.numbered.name])
        for column in table.names:
            if (other := REFERENCES.get(column)) is not None and row[column] is not None:
                self._referred.setdefault(other, set()).add(row[column])

    def refuse_strange(self, manifest: Manifest) -> None:
        """``UnreadableFile`` if rows refer to something that is not in the export."""
        if self._segments - self._ridden:
            raise _strange("strava.segments has a segment that no effort of the athlete names")
        if self._without_owner - self._stored:
            raise _strange("a row names an activity that is not the athlete's")
        for table, numbers in self._referred.items():
            if numbers - set(self.numbers.get(table, ())):
                raise _strange(f"a row refers to a row of {table} that is not in it")
        if self._recordings != sum(name.startswith("files/") for name in manifest.files):
            raise _strange("it has recordings that ops.recording_bytes does not name")


def check_export(export: OpenedExport, tables: Sequence[ExportedTable], told: Callable[[str], None]) -> Found:
    """Compare every file and every row; ``UnreadableFile``, in one line, for what is not as it was exported."""
    manifest = export.manifest
    _refuse_revision(manifest)
    _refuse_tables(manifest, tables)
    told("comparing checksums")
    export.check_all()
    found = Found(read_account(export))
    for table in tables:
        told(f"looking at {table.full_name}")
        for row in read_rows(export, table):
            found.add(table, row, manifest)
    found.refuse_strange(manifest)
    return found


def read_account(export: OpenedExport) -> Account:
    """Return what account.json tells; ``UnreadableFile`` if it is not usable."""
    if ACCOUNT not in export.manifest.files:
        raise _strange(f"it has no {ACCOUNT}")
    with export.open(ACCOUNT) as file:
        raw = file.read(LONGEST_ACCOUNT) or b""
        file.read_to_end()
    try:
        told: dict[str, Any] = json.loads(raw)
        since = told.get("connected_at")
        at = None if since is None else datetime.fromisoformat(since)
        had_grant = told.get("state") in _HAD_GRANT
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise _strange(f"{ACCOUNT} is not what an export has") from None
    if at is not None and at.tzinfo is None:
        raise _strange(f"{ACCOUNT} has a time without its zone")
    return Account(at, had_grant)


def _refuse_revision(manifest: Manifest) -> None:
    if manifest.revision == HEAD:
        return
    wrote = (
        f"strava-pipeline {manifest.program[:40]} wrote the export, with tables of revision {manifest.revision[:20]}"
    )
    if manifest.revision > HEAD:
        raise UnreadableFile(f"{wrote}, and these are older ({HEAD}): install that version, and restore with it")
    raise UnreadableFile(
        f"{wrote}, and these are newer ({HEAD}): restore it with that version into an empty database, upgrade that one,"
        " and export from there anew"
    )


def _refuse_tables(manifest: Manifest, tables: Sequence[ExportedTable]) -> None:
    known = {table.full_name: table.names for table in tables}
    told = {name: note.columns for name, note in manifest.tables.items() if note.is_restored}
    if told != known:
        odd = sorted(name for name in known.keys() | told.keys() if told.get(name) != known.get(name))
        raise _strange(f"its tables are not those of here, beginning with {odd[0][:100]}")
    files = {name for name in manifest.files if name.startswith("tables/")}
    if files - {f"tables/{name}.jsonl.gz" for name in manifest.tables}:
        raise _strange("it has files of tables that manifest.json does not name")


def _refuse_recording(row: Row, manifest: Manifest) -> None:
    name = recording_file(row["recording_id"], row["kind"])
    if name not in manifest.files:
        raise _strange(f"{name[:100]} is missing")
    if manifest.files[name].bytes > LONGEST_RECORDING:
        raise _strange(f"{name} is larger than {LONGEST_RECORDING:,} bytes")


def _strange(what: str) -> UnreadableFile:
    return UnreadableFile(f"the export is not whole, or was changed: {what}; nothing is restored")
