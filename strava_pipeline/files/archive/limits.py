"""What is read of an archive at most, so that no file fills memory or disk."""

from __future__ import annotations

from dataclasses import dataclass

_MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """Bounds, each far above what real archives hold; beyond one of them a file is refused.

    ``members``: of a zip or folder; ``directory_bytes``: of a zip's list of members. ``packed_bytes`` and
    ``plain_bytes``: of one recording, before and after it is unpacked. ``ratio``: plain bytes for each packed byte, of
    the zip's member and of the gzip within, for whatever is larger than ``small_bytes``. ``table_bytes`` and
    ``table_rows``: of activities.csv; ``side_table_bytes``: of each other table. ``cell_characters``: of one cell, so
    that an open quote does not take the rest of the table for a description; ``row_characters``: of one row.
    ``records``: of one recording; ``reading_bytes`` and ``reading_seconds``: memory and time that the process may take
    which reads one.
    """

    members: int = 200_000
    directory_bytes: int = 64 * _MIB
    packed_bytes: int = 64 * _MIB
    plain_bytes: int = 256 * _MIB
    ratio: int = 100
    small_bytes: int = _MIB
    table_bytes: int = 256 * _MIB
    table_rows: int = 1_000_000
    side_table_bytes: int = _MIB
    cell_characters: int = _MIB
    row_characters: int = 4 * _MIB
    columns: int = 1_000
    records: int = 1_000_000
    reading_bytes: int = 1_024 * _MIB
    reading_seconds: float = 60.0


DEFAULT_LIMITS = ArchiveLimits()
