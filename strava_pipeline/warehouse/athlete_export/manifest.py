"""The manifest of an export: what is in it, by which a restore finds that something is missing or was changed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from strava_pipeline.errors import UnreadableFile
from strava_pipeline.warehouse.athlete_export.layout import FILE_NAME, FORM, PRODUCT

_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LARGEST_ID: Final = 2**63 - 1


@dataclass(frozen=True)
class FileNote:
    """One file: how many ``bytes`` it has, and their SHA-256 (hex)."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class TableNote:
    """One table: its ``rows``, its ``columns`` in their order, and whether a restore fills it."""

    rows: int
    columns: list[str]
    is_restored: bool = True


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says; ``taken_at``: as of when the tables are (ISO 8601, UTC).

    ``revision``: of the tables; ``program``: the version that wrote the export; ``tables``: by schema and name.
    """

    athlete_id: int
    taken_at: str
    revision: str
    program: str
    tables: Mapping[str, TableNote]
    files: Mapping[str, FileNote]
    left_out: Mapping[str, str] = field(default_factory=dict)
    product: str = PRODUCT
    form: int = FORM

    def dump(self) -> bytes:
        """The manifest as JSON."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"


def read_manifest(raw: bytes) -> Manifest:
    """Return the manifest of these bytes; ``UnreadableFile`` if it is none, or of a newer program."""
    try:
        told = json.loads(raw)
        is_ours, form, program = told["product"] == PRODUCT, told["form"], told["program"]
        manifest = _manifest(told) if is_ours and form == FORM else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _no_manifest() from None
    if is_ours and form != FORM:
        raise UnreadableFile(
            f"the export has form {str(form)[:20]}, and this program reads form {FORM}: install strava-pipeline"
            f" {str(program)[:40]}, which wrote it"
        )
    if manifest is None:
        raise _no_manifest()
    return manifest


def _no_manifest() -> UnreadableFile:
    return UnreadableFile("manifest.json is not what an export has: take the export as it was written")


def _manifest(told: dict[str, Any]) -> Manifest | None:
    tables = {name: TableNote(**note) for name, note in told["tables"].items()}
    files = {name: FileNote(**note) for name, note in told["files"].items()}
    taken_at, revision, program = (told[name] for name in ("taken_at", "revision", "program"))
    sound = (
        _is_count(told["athlete_id"])
        and told["athlete_id"] > 0
        and all(isinstance(text, str) for text in (taken_at, revision, program))
        and all(FILE_NAME.fullmatch(name) for name in files)
        and all(_is_count(note.bytes) and _SHA256.fullmatch(note.sha256) for note in files.values())
        and all(_is_table(note) for note in tables.values())
    )
    return Manifest(told["athlete_id"], taken_at, revision, program, tables, files) if sound else None


def _is_table(note: TableNote) -> bool:
    return (
        _is_count(note.rows)
        and isinstance(note.columns, list)
        and all(isinstance(name, str) for name in note.columns)
        and isinstance(note.is_restored, bool)
    )


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST_ID
