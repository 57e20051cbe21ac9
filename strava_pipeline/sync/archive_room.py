"""Whether the disks have room for what was handed in, before anything is written."""

from __future__ import annotations

from typing import Final

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.local.disk import FULL_BYTES, FULL_SHARE, local_disks
from strava_pipeline.settings import Settings

# What the tables and their analysis take, for each byte of a recording as it lies in an archive, and for each row.
_PER_BYTE: Final = 8
_PER_ROW: Final = 40_000


def refuse_without_room(settings: Settings, *, recording_bytes: int, rows: int) -> None:
    """Raise ``ConfigurationError`` if what was handed in could fill a disk of this machine that holds the tables.

    Of a database elsewhere nobody knows the disk.
    """
    if not settings.is_embedded:
        return
    needed = _PER_BYTE * recording_bytes + _PER_ROW * rows
    for disk in local_disks(settings):
        kept_free = min(FULL_BYTES, int(FULL_SHARE * disk.total_bytes))
        if disk.free_bytes - needed < kept_free:
            raise ConfigurationError(
                f"{disk}: this import may take {needed / 10**9:.1f} GB, which leaves too little; make room, or let"
                " STRAVA_HOME be on a larger disk"
            )
