"""How long the rows of each table of schema ``ops`` are kept, and the deletion of those whose time is over.

:data:`LIVES` has every table; docs/storage.md tells it to people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, Engine, Table, and_, func, select

from strava_pipeline.warehouse.engine import autocommit, now, plan_for_now
from strava_pipeline.warehouse.finished_rows import delete_counted
from strava_pipeline.warehouse.locks import delete_unused_locks
from strava_pipeline.warehouse.mail.confirmation_limits import MONTH
from strava_pipeline.warehouse.mail.consent import erase_unconfirmed
from strava_pipeline.warehouse.schema.access_tables import invites, oauth_states, operator_audit, operator_sessions
from strava_pipeline.warehouse.schema.alert_tables import (
    alert_checks,
    alert_messages,
    alert_silences,
    alerts,
    heartbeats,
)
from strava_pipeline.warehouse.schema.archive_tables import (
    archive_files,
    archive_imports,
    archive_rows,
    recording_bytes,
)
from strava_pipeline.warehouse.schema.check_tables import changed_months, month_checks
from strava_pipeline.warehouse.schema.delivery_tables import delivery_counts
from strava_pipeline.warehouse.schema.failed_run_tables import failed_runs
from strava_pipeline.warehouse.schema.grant_tables import erasures, key_checks, token_audit, token_journal, users
from strava_pipeline.warehouse.schema.history_tables import job_progress, put_aside
from strava_pipeline.warehouse.schema.import_tables import failed_months, import_months
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.metric_tables import metric_totals
from strava_pipeline.warehouse.schema.notification_tables import confirmation_mails, notifications
from strava_pipeline.warehouse.schema.payload_tables import payloads, tombstones
from strava_pipeline.warehouse.schema.quota_tables import api_calls, app_status, outages, quota_windows
from strava_pipeline.warehouse.schema.restore_tables import database_identity, restore_checks
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep, upkeep_pages
from strava_pipeline.warehouse.schema.upload_tables import upload_links, uploads
from strava_pipeline.warehouse.schema.wish_tables import histories, imports
from strava_pipeline.warehouse.schema.work_tables import locks, work_leases, write_probe
from strava_pipeline.warehouse.states import EventState
from strava_pipeline.warehouse.uploads.rows import delete_ended
from strava_pipeline.warehouse.work_leases import delete_ended_leases

# Each batch is its own transaction: a run that dies keeps its finished batches, and nobody waits long for a lock.
BATCH = 1000
# The quota's reserve learns from two weeks of calls; an operator sees a month.
CALLS_KEPT = timedelta(days=35)
# As long as calls: a month can be compared with the one before.
DELIVERIES_KEPT = timedelta(days=35)
PROGRESS_KEPT = timedelta(days=30)
# A finished mail's row prevents a second mail about its activity; after this time the activity is too old for a mail.
MAILS_KEPT = timedelta(days=90)
# What is in them also stands in mails that people keep, so nobody needs them for long.
ALERT_MESSAGES_KEPT = timedelta(days=90)
# Who died last week is told by the services' logs.
# The bridge looks for runs that failed within the last three days.
FAILED_RUNS_KEPT = timedelta(days=30)
HEARTBEATS_KEPT = timedelta(days=1)
# A late answer may still change the bookings of a window that has ended.
WINDOWS_KEPT = timedelta(days=2)

# Deletes rows whose time is over at a moment (UTC); returns how many.
Deletion = Callable[[Engine, datetime], int]


@dataclass(frozen=True)
class Life:
    """How long rows are kept, in words; ``deletion``: what deletes them each night, if their time alone decides."""

    kept: str
    deletion: Deletion | None = None


def _after(time: Column[Any], keep: timedelta, *more: ColumnElement[bool]) -> Deletion:
    return lambda engine, moment: _delete_batches(engine, time, time < moment - keep, *more)


def _at_once(deletion: Callable[[Connection], int]) -> Deletion:
    """A deletion in one transaction, for a table that holds few rows at any time."""

    def delete_all(engine: Engine, _: datetime) -> int:
        with engine.begin() as connection:
            return deletion(connection)

    return delete_all


def _ended_windows(engine: Engine, moment: datetime) -> int:
    window = quota_windows.c
    ends_at = window.starts_at + func.make_interval(0, 0, 0, 0, 0, 0, window.length_s)
    last = moment - WINDOWS_KEPT
    is_free = func.coalesce(window.blocked_until, ends_at) < moment
    return _delete_batches(engine, window.starts_at, window.starts_at < last, ends_at < last, is_free)


_WITH_THE_ATHLETE = "until the athlete's data are erased"

LIVES: Final[Mapping[Table, Life]] = {
    users: Life("for good; tokens and address go when the athlete is disconnected"),
    erasures: Life("until none of the athlete's data are left"),
    token_audit: Life("STRAVA_AUDIT_RETENTION_DAYS"),
    operator_audit: Life("STRAVA_AUDIT_RETENTION_DAYS"),
    token_journal: Life("until the refresh is over"),
    key_checks: Life("for good; one row for each key"),
    app_status: Life("for good; one row"),
    outages: Life("for good; one row for each service of Strava's"),
    write_probe: Life("for good; one row"),
    database_identity: Life("for good; one row"),
    restore_checks: Life("until the check of a restored database has ended"),
    api_calls: Life("35 days", _after(api_calls.c.reserved_at, CALLS_KEPT)),
    quota_windows: Life("two days after the window's end", _ended_windows),
    webhook_events: Life(
        "STRAVA_INBOX_RETENTION_DAYS once they took effect; parked ones until the athlete connects again, dead letters"
        " until they are replayed, discarded ones " + _WITH_THE_ATHLETE
    ),
    tombstones: Life(_WITH_THE_ATHLETE + "; one row for each activity that was deleted at Strava"),
    payloads: Life("as long as the activity"),
    archive_imports: Life(_WITH_THE_ATHLETE + "; one row for each archive or lot of files"),
    archive_rows: Life("until the archive import is undone"),
    archive_files: Life("until the archive import is undone"),
    recording_bytes: Life("until each archive import with the file is undone"),
    oauth_states: Life("until the time to connect is over", _after(oauth_states.c.expires_at, timedelta())),
    operator_sessions: Life("until the session ends", _after(operator_sessions.c.expires_at, timedelta())),
    locks: Life("until the next night", _at_once(delete_unused_locks)),
    work_leases: Life("until the work is done, or its process is gone", _at_once(delete_ended_leases)),
    invites: Life("until the link ends", _after(invites.c.expires_at, timedelta())),
    upload_links: Life(
        "until the link ends, is canceled, or the athlete is disconnected",
        _after(upload_links.c.expires_at, timedelta()),
    ),
    uploads: Life(
        "until the archive import of the file has ended, or the upload is canceled; 7 days after the last part at most",
        _at_once(delete_ended),
    ),
    delivery_counts: Life("35 days", _after(delivery_counts.c.slot, DELIVERIES_KEPT)),
    upkeep: Life(_WITH_THE_ATHLETE + "; one row for each thing that is compared"),
    upkeep_pages: Life("until the history is listed to its end, 7 days at most"),
    imports: Life(_WITH_THE_ATHLETE + "; one row for each span that was asked for"),
    histories: Life(_WITH_THE_ATHLETE + "; one row for each athlete"),
    import_months: Life(_WITH_THE_ATHLETE + "; one row for each month"),
    failed_months: Life("until the month succeeds"),
    changed_months: Life("until the month is checked"),
    month_checks: Life(_WITH_THE_ATHLETE + "; one row for each month"),
    put_aside: Life("until the activity is stored, or is listed no more"),
    job_progress: Life("30 days after the run's last word", _after(job_progress.c.updated_at, PROGRESS_KEPT)),
    metric_totals: Life("for good; one row for each kind of thing that is counted"),
    notifications: Life("90 days after the mail was sent or given up", _after(notifications.c.finished_at, MAILS_KEPT)),
    alerts: Life("until the alert is cleared"),
    alert_checks: Life("for good; one row for each check of alerts"),
    alert_silences: Life("until the silence ends", _after(alert_silences.c.until, timedelta())),
    alert_messages: Life(
        "90 days after the message was sent, skipped or given up",
        _after(alert_messages.c.finished_at, ALERT_MESSAGES_KEPT),
    ),
    failed_runs: Life("30 days after the run was found", _after(failed_runs.c.found_at, FAILED_RUNS_KEPT)),
    heartbeats: Life("a day after the process's last sign of life", _after(heartbeats.c.beat_at, HEARTBEATS_KEPT)),
    confirmation_mails: Life("30 days", _after(confirmation_mails.c.began_at, MONTH)),
}


def remove_old_records(engine: Engine) -> dict[str, int]:
    """Delete the rows whose time is over, but for audits and events, whose time is a setting.

    Returns the number of deleted rows by table, without tables from which none was deleted. Addresses that were not
    confirmed in time are erased, and counted as ``unconfirmed addresses``.
    """
    with autocommit(engine) as connection:
        moment = now(connection)
    removed = {
        table.fullname: life.deletion(engine, moment) for table, life in LIVES.items() if life.deletion is not None
    }
    with engine.begin() as connection:
        removed["unconfirmed addresses"] = erase_unconfirmed(connection)
    return {name: rows for name, rows in removed.items() if rows}


def remove_old_audits(engine: Engine, keep: timedelta) -> dict[str, int]:
    """Delete rows of the operator audit and the token audit that are older than ``keep``.

    Returns counts as :func:`remove_old_records`.
    """
    with autocommit(engine) as connection:
        moment = now(connection)
    removed = {table.fullname: _after(table.c.at, keep)(engine, moment) for table in (operator_audit, token_audit)}
    return {name: rows for name, rows in removed.items() if rows}


def remove_done_events(engine: Engine, keep: timedelta) -> dict[str, int]:
    """Delete events that took effect longer ago than ``keep``; all others stay.

    Returns counts as :func:`remove_old_records`.
    """
    with autocommit(engine) as connection:
        moment = now(connection)
    deletion = _after(webhook_events.c.finished_at, keep, webhook_events.c.state == EventState.DONE)
    rows = deletion(engine, moment)
    return {webhook_events.fullname: rows} if rows else {}


def _delete_batches(engine: Engine, time: Column[Any], *is_old: ColumnElement[bool]) -> int:
    """Delete rows, oldest first, by the index on ``time``; returns how many. A locked row is left for the next call."""
    table = time.table
    key = list(table.primary_key)
    chosen = select(*key).where(*is_old).order_by(time).limit(BATCH).with_for_update(skip_locked=True)
    oldest = chosen.cte("oldest")
    same = and_(*(column == oldest.c[column.name] for column in key))
    deleted = 0
    while True:
        with engine.begin() as connection:
            plan_for_now(connection)
            batch = delete_counted(connection, table, same)
        deleted += batch
        if batch < BATCH:
            return deleted
