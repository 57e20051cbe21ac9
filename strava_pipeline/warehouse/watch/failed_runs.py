"""Failed runs that were found, so that each is told once, whichever bridge finds it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, Text, any_, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.failed_run_tables import failed_runs

_c = failed_runs.c


def known_runs(connection: Connection, run_ids: Collection[str]) -> set[str]:
    """Return those of the runs that were found before."""
    found = select(_c.run_id).where(_c.run_id == any_(literal(list(run_ids), ARRAY(Text))))
    return set(connection.execute(found).scalars())


def last_end(connection: Connection) -> datetime | None:
    """Return when the last of the found runs ended (UTC); ``None`` if there is none."""
    moment: datetime | None = connection.execute(select(func.max(_c.ended_at))).scalar()
    return moment


def was_told_within(connection: Connection, span: timedelta) -> bool:
    """Whether a message about failed runs was made so lately."""
    last: datetime | None = connection.execute(select(func.max(_c.told_at))).scalar()
    # One ahead was written before the database's clock was set back.
    return last is not None and timedelta() <= now(connection) - last < span


def note_runs(connection: Connection, ended_at: Mapping[str, datetime], *, told: bool) -> set[str]:
    """Note runs, by id with their end (UTC); return those that nobody had noted before.

    Another bridge that notes the same run waits for the end of this transaction.
    """
    if not ended_at:
        return set()
    moment = database_time() if told else None
    rows = [{"run_id": run_id, "ended_at": end, "told_at": moment} for run_id, end in sorted(ended_at.items())]
    noting = insert_or_skip(failed_runs).values(rows).on_conflict_do_nothing().returning(_c.run_id)
    return set(connection.execute(noting).scalars())
