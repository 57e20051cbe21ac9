"""Retention: what is too old goes with all that hangs on it, and is not fetched again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, Table, func, insert, select, text, update

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.months import Span
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse import retention
from strava_pipeline.warehouse.access.operator_sessions import open_session
from strava_pipeline.warehouse.activities.activity_store import DEPENDENT_TABLES
from strava_pipeline.warehouse.athletes.invites import new_invite
from strava_pipeline.warehouse.lake import remove_points_before, write_month
from strava_pipeline.warehouse.retention import (
    keep_from,
    remove_activities_before,
    remove_old_audits,
    remove_old_records,
)
from strava_pipeline.warehouse.schema.ops_tables import (
    api_calls,
    invites,
    operator_audit,
    operator_sessions,
    quota_windows,
    token_audit,
)
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline_tests.inbox import bring_up_to_date
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed

JUNE = Span(RIDER, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
MIDDLE = datetime(2025, 6, 3, 12, tzinfo=UTC)


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    """Rides on the first five days of June, all stored."""
    strava = StravaStandIn()
    for number in range(1, 6):
        strava.add(number, JUNE.start + timedelta(days=number - 1, hours=8))
        bring_up_to_date(strava.sync(engine), RIDER, number)
    return strava


def stored(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(select(activities.c.id).order_by(activities.c.id)).scalars())


@pytest.mark.usefixtures("strava")
def test_what_is_older_goes_with_everything_and_is_counted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    removed = remove_activities_before(engine, MIDDLE)
    assert removed["strava.activities"] == removed["strava.activity_streams"] == 3
    assert removed["strava.laps"] == 6
    assert stored(engine) == [4, 5]
    with engine.connect() as connection:
        for table in DEPENDENT_TABLES:
            count = select(func.count()).select_from(table).where(table.c.activity_id < 4)
            assert connection.execute(count).scalar_one() == 0, table.name
    assert remove_activities_before(engine, MIDDLE) == {}


def test_what_is_too_old_is_listed_but_not_stored_again(strava: StravaStandIn, engine: Engine) -> None:
    remove_activities_before(engine, MIDDLE)
    sync = replace(strava.sync(engine), keep_from=MIDDLE)
    import_listed(sync, [JUNE])
    assert stored(engine) == [4, 5]


def test_what_has_just_become_too_old_does_not_look_like_a_mass_deletion(strava: StravaStandIn, engine: Engine) -> None:
    sync = replace(strava.sync(engine), keep_from=JUNE.end)
    (result,) = import_listed(sync, [JUNE])
    assert result.deleted == 0
    assert stored(engine) == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("strava")
def test_the_lake_follows(engine: Engine, tmp_path: Path) -> None:
    url = str(tmp_path / "lake")
    write_month(engine, url, JUNE)
    remove_activities_before(engine, MIDDLE)
    assert remove_points_before(engine, url, MIDDLE) == 1
    assert remove_points_before(engine, url, MIDDLE) == 0
    remove_activities_before(engine, JUNE.end)
    assert remove_points_before(engine, url, JUNE.end) == 1
    assert [path for path in Path(url).rglob("*") if path.is_file()] == []


def test_old_records_go_and_recent_ones_stay(engine: Engine) -> None:
    now = datetime.now(UTC)
    with engine.begin() as connection:
        for days in (1, 89, 91, 400):
            moment = now - timedelta(days=days)
            connection.execute(insert(api_calls).values(lane="live", endpoint="/athlete", reserved_at=moment))
            window = {"scope": "app", "length_s": 900, "starts_at": moment, "booked": 1}
            connection.execute(insert(quota_windows).values(window | {"read_foreign": 0, "overall_foreign": 0}))
    assert remove_old_records(engine) == {"ops.api_calls": 2, "ops.quota_windows": 3}
    assert remove_old_records(engine) == {}


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


@pytest.mark.parametrize("table", [operator_audit, token_audit])
def test_what_is_too_old_in_an_audit_is_found_by_an_index(engine: Engine, table: Table) -> None:
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = connection.execute(text(f"EXPLAIN DELETE FROM {table.fullname} WHERE at < now()")).scalars().all()  # noqa: S608  constants
    assert f"ix_{table.name}_at" in "\n".join(plan)


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


def test_everything_is_kept_unless_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    assert keep_from(load_settings()) is None
    monkeypatch.setenv("STRAVA_RETENTION_DAYS", "30")
    moment = keep_from(load_settings())
    assert moment is not None
    assert timedelta(days=30) <= datetime.now(UTC) - moment < timedelta(days=30, minutes=1)
    monkeypatch.setenv("STRAVA_RETENTION_DAYS", "0")
    with pytest.raises(ConfigurationError, match="STRAVA_RETENTION_DAYS"):
        load_settings()
