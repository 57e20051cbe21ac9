"""Deletes rows that are too old to keep: activities past STRAVA_RETENTION_DAYS, and records nobody needs any more."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine, Table, delete, func, select

from strava_pipeline.months import add_months
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.activities.activity_store import DEPENDENT_TABLES, delete_activities
from strava_pipeline.warehouse.athletes.invites import delete_ended_invites
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports.histories import note_removed
from strava_pipeline.warehouse.imports.listed_months import forget_before
from strava_pipeline.warehouse.locks import delete_unused_locks
from strava_pipeline.warehouse.mail.confirmation_limits import delete_counted
from strava_pipeline.warehouse.mail.consent import erase_unconfirmed
from strava_pipeline.warehouse.mail.mail_queue import delete_finished_before
from strava_pipeline.warehouse.progress.job_progress import delete_progress_before
from strava_pipeline.warehouse.schema.history_tables import job_progress
from strava_pipeline.warehouse.schema.notification_tables import confirmation_mails, notifications
from strava_pipeline.warehouse.schema.ops_tables import (
    api_calls,
    invites,
    locks,
    oauth_states,
    operator_audit,
    operator_sessions,
    quota_windows,
    token_audit,
    work_leases,
)
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.work_leases import delete_ended_leases

# Each batch is its own transaction: a run that dies keeps its finished batches, and nobody waits long for a lock.
BATCH = 500
# The quota's reserve needs two weeks of calls; three months of them help an operator to see what happened.
CALLS_KEPT = timedelta(days=90)
PROGRESS_KEPT = timedelta(days=30)
# A finished mail's row prevents a second mail about its activity; after this time the activity is too old for a mail.
MAILS_KEPT = timedelta(days=90)
# A late answer may still change the bookings of a window that has ended.
WINDOWS_KEPT = timedelta(days=2)


def keep_from(settings: Settings) -> datetime | None:
    """Return the time (UTC) from which on activities are kept, by their start; ``None``: all are kept."""
    if settings.retention_days is None:
        return None
    return datetime.now(UTC) - timedelta(days=settings.retention_days)


def earliest_month(settings: Settings) -> date:
    """Return the first day of the earliest month (UTC) whose activities are imported and kept."""
    kept = keep_from(settings)
    first = settings.history_start if kept is None else max(settings.history_start, kept.date())
    return add_months(first, 0)


def remove_activities_before(engine: Engine, moment: datetime) -> dict[str, int]:
    """Delete activities that started before ``moment`` (UTC), with their rows in other tables.

    Were activities of then kept again, their months would be listed again. Returns the number of deleted rows by table,
    without tables from which none was deleted.
    """
    removed: dict[str, int] = {}
    while True:
        with engine.begin() as connection:
            oldest = select(activities.c.id).where(activities.c.start_date < moment).limit(BATCH)
            batch = list(connection.execute(oldest).scalars())
            if not batch:
                # Whatever was deleted, also by a run that died before this.
                first_kept = add_months(moment.astimezone(UTC).date(), 0)
                note_removed(connection, first_kept)
                forget_before(connection, first_kept)
                return removed
            for table in DEPENDENT_TABLES:
                hanging = select(func.count()).select_from(table).where(table.c.activity_id.in_(batch))
                _add(removed, table, connection.execute(hanging).scalar_one())
            delete_activities(connection, batch)
            _add(removed, activities, len(batch))


def remove_old_records(engine: Engine) -> dict[str, int]:
    """Delete records of calls, windows, sign-ins, invitations, backfills, mails and locks that nobody needs any more.

    Returns counts as :func:`remove_activities_before`. Addresses that were not confirmed in time are erased, and
    counted as ``unconfirmed addresses``.
    """
    removed: dict[str, int] = {}
    with engine.begin() as connection:
        moment = now(connection)
        calls = connection.execute(delete(api_calls).where(api_calls.c.reserved_at < moment - CALLS_KEPT))
        _add(removed, api_calls, calls.rowcount)
        ends_at = quota_windows.c.starts_at + func.make_interval(0, 0, 0, 0, 0, 0, quota_windows.c.length_s)
        old = (ends_at < moment - WINDOWS_KEPT) & (func.coalesce(quota_windows.c.blocked_until, ends_at) < moment)
        _add(removed, quota_windows, connection.execute(delete(quota_windows).where(old)).rowcount)
        _add(
            removed,
            oauth_states,
            connection.execute(delete(oauth_states).where(oauth_states.c.expires_at < moment)).rowcount,
        )
        ended = delete(operator_sessions).where(operator_sessions.c.expires_at < moment)
        _add(removed, operator_sessions, connection.execute(ended).rowcount)
        _add(removed, invites, delete_ended_invites(connection))
        _add(removed, job_progress, delete_progress_before(connection, moment - PROGRESS_KEPT))
        _add(removed, notifications, delete_finished_before(connection, moment - MAILS_KEPT))
        _add(removed, confirmation_mails, delete_counted(connection))
        _add(removed, locks, delete_unused_locks(connection))
        _add(removed, work_leases, delete_ended_leases(connection))
    with engine.begin() as connection:
        if addresses := erase_unconfirmed(connection):
            removed["unconfirmed addresses"] = addresses
    return removed


def remove_old_audits(engine: Engine, keep: timedelta) -> dict[str, int]:
    """Delete rows of the operator audit and the token audit that are older than ``keep``.

    Returns counts as :func:`remove_activities_before`.
    """
    removed: dict[str, int] = {}
    with engine.begin() as connection:
        oldest = now(connection) - keep
        for table in (operator_audit, token_audit):
            _add(removed, table, connection.execute(delete(table).where(table.c.at < oldest)).rowcount)
    return removed


def _add(removed: dict[str, int], table: Table, rows: int) -> None:
    if rows:
        name = str(table.fullname)
        removed[name] = removed.get(name, 0) + rows
