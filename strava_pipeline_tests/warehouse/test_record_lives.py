"""Each table of schema ``ops`` has a stated life: what is older goes, by index and in batches, and the rest stays."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Table, event, func, insert, select, text, update

from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse import record_lives
from strava_pipeline.warehouse.access.operator_sessions import open_session
from strava_pipeline.warehouse.athletes.invites import new_invite
from strava_pipeline.warehouse.record_lives import LIVES, remove_old_audits, remove_old_records
from strava_pipeline.warehouse.schema.access_tables import invites, oauth_states, operator_audit, operator_sessions
from strava_pipeline.warehouse.schema.alert_tables import alert_messages, alert_silences, heartbeats
from strava_pipeline.warehouse.schema.delivery_tables import delivery_counts
from strava_pipeline.warehouse.schema.failed_run_tables import failed_runs
from strava_pipeline.warehouse.schema.grant_tables import token_audit
from strava_pipeline.warehouse.schema.history_tables import job_progress
from strava_pipeline.warehouse.schema.notification_tables import confirmation_mails, notifications
from strava_pipeline.warehouse.schema.quota_tables import api_calls, quota_windows
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline.warehouse.schema.upload_tables import upload_links, uploads
from strava_pipeline.warehouse.schema.work_tables import locks, work_leases

DOCS = Path(__file__).parents[2] / "docs/storage.md"
DAY = timedelta(days=1)
SOON = timedelta(minutes=1)
WINDOW = {"scope": "app", "length_s": 900, "booked": 1, "read_foreign": 0, "overall_foreign": 0}


def call(at: datetime, number: int) -> dict[str, Any]:
    return {"lane": "live", "endpoint": "/athlete", "reserved_at": at}


def window(at: datetime, number: int) -> dict[str, Any]:
    return WINDOW | {"starts_at": at - timedelta(seconds=900)}


def sign_in(at: datetime, number: int) -> dict[str, Any]:
    return {"state_hash": str(number), "browser_hash": "b", "expires_at": at}


def session(at: datetime, number: int) -> dict[str, Any]:
    return {"secret_hash": str(number), "kind": "session", "proof": "p", "expires_at": at}


def lease(at: datetime, number: int) -> dict[str, Any]:
    return {"athlete_id": number, "work": "summary", "holder": "h", "lease_until": at}


def invite(at: datetime, number: int) -> dict[str, Any]:
    return {"secret_hash": str(number), "proof": "p", "expires_at": at}


def progress(at: datetime, number: int) -> dict[str, Any]:
    spans = dict.fromkeys(("span_start", "span_end", "started_at", "updated_at"), at)
    counts = dict.fromkeys(("listed", "detailed", "streamed", "requests"), 0)
    return {"run_id": str(number), "athlete_id": 1, "step": "activities"} | spans | counts


def mail(at: datetime, number: int) -> dict[str, Any]:
    return {"activity_id": number, "kind": "ride_summary", "athlete_id": 1, "state": "sent", "finished_at": at}


def asked(at: datetime, number: int) -> dict[str, Any]:
    return {"notification_id": number, "athlete_id": 1, "mailbox_hash": "m", "began_at": at}


def silence(at: datetime, number: int) -> dict[str, Any]:
    return {"rule": str(number), "until": at, "silenced_by": "command", "because": "a test"}


def message(at: datetime, number: int) -> dict[str, Any]:
    told = {"change": "test", "severity": "warning", "athlete_ids": [], "subject": "s", "body": "b"}
    return told | {"mail_state": "sent", "push_state": "skipped", "finished_at": at}


def beat(at: datetime, number: int) -> dict[str, Any]:
    return {"process": str(number), "role": "bridge", "started_at": at, "beat_at": at, "findings": []}


def failed_run(at: datetime, number: int) -> dict[str, Any]:
    return {"run_id": str(number), "ended_at": at, "found_at": at}


def counted(at: datetime, number: int) -> dict[str, Any]:
    return {"slot": at, "outcome": "stored", "reason": "", "bridge": str(number), "deliveries": 1, "slowest_ms": 5}


def upload_link(at: datetime, number: int) -> dict[str, Any]:
    return {"athlete_id": 1, "secret_hash": str(number), "proof": "p", "expires_at": at}


def upload(at: datetime, number: int) -> dict[str, Any]:
    told = {"athlete_id": number, "name": "a.zip", "size_bytes": 2, "ends_hash": "h", "received_bytes": 1}
    return told | {"state": "open", "alive_at": at}


# By table: a row of a time, and how long after it the row is kept.
EXAMPLES: dict[Table, tuple[Callable[[datetime, int], dict[str, Any]], timedelta]] = {
    api_calls: (call, 35 * DAY),
    quota_windows: (window, 2 * DAY),
    oauth_states: (sign_in, timedelta()),
    operator_sessions: (session, timedelta()),
    invites: (invite, timedelta()),
    work_leases: (lease, timedelta()),
    job_progress: (progress, 30 * DAY),
    notifications: (mail, 90 * DAY),
    confirmation_mails: (asked, 30 * DAY),
    alert_silences: (silence, timedelta()),
    alert_messages: (message, 90 * DAY),
    failed_runs: (failed_run, 30 * DAY),
    heartbeats: (beat, DAY),
    delivery_counts: (counted, 35 * DAY),
    upload_links: (upload_link, timedelta()),
    uploads: (upload, 7 * DAY),
}
# They hold few rows at any time, and are read whole.
SMALL = {oauth_states, operator_sessions, work_leases, locks, alert_silences, heartbeats, uploads}


def fill(engine: Engine, table: Table, *ages: timedelta) -> None:
    """Store rows that are so old."""
    row, _ = EXAMPLES[table]
    with engine.begin() as connection:
        moment = connection.execute(select(func.now())).scalar_one()
        for number, age in enumerate(ages):
            connection.execute(insert(table).values(row(moment - age, number)))


def count(engine: Engine, table: Table) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_every_table_has_a_stated_life() -> None:
    assert {table for table in metadata.tables.values() if table.schema == "ops"} == set(LIVES)


def test_the_docs_tell_each_life() -> None:
    told = DOCS.read_text()
    assert [table.name for table, life in LIVES.items() if f"| `{table.name}` | {life.kept} |" not in told] == []


def test_there_is_an_example_of_each_life_that_time_ends() -> None:
    # Rows of the table of locks have no time: test_locks.py.
    assert {table for table, life in LIVES.items() if life.deletion is not None} == set(EXAMPLES) | {locks}


@pytest.mark.parametrize("table", EXAMPLES, ids=lambda table: table.name)
def test_old_rows_go_and_young_ones_stay(engine: Engine, table: Table) -> None:
    kept = EXAMPLES[table][1]
    fill(engine, table, kept - SOON, kept + SOON, kept + 400 * DAY)
    assert remove_old_records(engine) == {f"ops.{table.name}": 2}
    assert count(engine, table) == 1
    assert remove_old_records(engine) == {}


def test_a_deletion_that_dies_keeps_its_finished_batches(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_lives, "BATCH", 2)
    fill(engine, api_calls, *[(40 + number) * DAY for number in range(5)], DAY)
    batches = 0

    def die_in_the_third(*_: Any) -> None:
        nonlocal batches
        batches += 1
        if batches == 3:
            raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(record_lives, "plan_for_now", die_in_the_third)
        with pytest.raises(SystemExit):
            remove_old_records(engine)
    assert count(engine, api_calls) == 2
    assert remove_old_records(engine) == {"ops.api_calls": 1}


@pytest.mark.parametrize("table", [*EXAMPLES, operator_audit, token_audit], ids=lambda table: table.name)
def test_old_rows_are_found_by_an_index(engine: Engine, table: Table) -> None:
    """With sequential scans off, Postgres takes one only where no index serves, whatever the size of the table."""
    if table in SMALL:
        return
    statements: list[tuple[str, Any]] = []

    def collect(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if "DELETE FROM" in statement and f" ops.{table.name} " in statement:
            statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", collect)
    remove_old_records(engine)
    remove_old_audits(engine, DAY)
    event.remove(engine, "before_cursor_execute", collect)
    ((statement, parameters),) = statements
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars())
    assert "Seq Scan" not in plan
    times = (
        "reserved_at",
        "starts_at",
        "expires_at",
        "updated_at",
        "finished_at",
        "began_at",
        "found_at",
        "slot",
        "at",
    )
    assert any(f"Index Cond: ({time} < " in plan for time in times), plan


def test_audits_go_after_their_time(engine: Engine) -> None:
    now = datetime.now(UTC)
    with engine.begin() as connection:
        for days in (1, 399, 401, 4000):
            at = now - timedelta(days=days)
            connection.execute(insert(operator_audit).values(actor="operator", action="login", outcome="ok", at=at))
            connection.execute(insert(token_audit).values(operation="refresh", outcome="ok", at=at))
    assert remove_old_records(engine) == {}
    assert load_settings().audit_retention_days == 400
    keep = timedelta(days=400)
    assert remove_old_audits(engine, keep) == {"ops.operator_audit": 2, "ops.token_audit": 2}
    assert remove_old_audits(engine, keep) == {}


def test_sign_ins_and_invitations_that_have_ended_go(engine: Engine) -> None:
    with engine.begin() as connection:
        open_session(connection, "proof")
        new_invite(connection, "proof", 3)
        assert remove_old_records(engine) == {}
    with engine.begin() as connection:
        for table in (operator_sessions, invites):
            connection.execute(update(table).values(expires_at=func.now()))
    assert remove_old_records(engine) == {"ops.operator_sessions": 1, "ops.invites": 3}


def test_a_window_that_is_still_blocked_stays(engine: Engine) -> None:
    now = datetime.now(UTC)
    with engine.begin() as connection:
        connection.execute(
            insert(quota_windows).values(
                scope="app",
                length_s=900,
                starts_at=now - timedelta(days=9),
                booked=1,
                read_foreign=0,
                overall_foreign=0,
                blocked_until=now + timedelta(hours=1),
            )
        )
    assert remove_old_records(engine) == {}
