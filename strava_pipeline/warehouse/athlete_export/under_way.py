"""What was under way where an athlete was exported: it has ended where the athlete is restored."""

from __future__ import annotations

from strava_pipeline.warehouse.athlete_export.restored_rows import Row
from strava_pipeline.warehouse.states import ArchiveState, ImportState, MailState

_WHY = "it was under way when the athlete was exported"


def at_rest(table: str, row: Row, taken_at: str) -> Row:
    """Return a row without work that nobody does here: runs of another Dagster, mails and files of another machine.

    ``table``: with its schema; ``taken_at``: the time of the export (ISO 8601).
    """
    if table == "ops.imports" and row["state"] != ImportState.DUE:
        return row | {"state": ImportState.DUE.value, "lease_until": None}
    if table == "ops.archive_imports" and row["state"] in {ArchiveState.WAITING, ArchiveState.RUNNING}:
        ended = {"state": ArchiveState.FAILED.value, "failure": f"{_WHY}: hand it in again", "place": None}
        return row | ended | {"ended_at": taken_at}
    if table == "ops.notifications" and row["state"] == MailState.PENDING:
        ended = {"state": MailState.SKIPPED.value, "reason": _WHY, "next_try_at": None, "finished_at": taken_at}
        return row | ended
    return row
