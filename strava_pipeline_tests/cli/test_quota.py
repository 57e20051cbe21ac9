"""``quota`` shows what is used of Strava's limits, and what each lane may still use."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from strava_pipeline.cli import cli
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.outage import Outage, Service
from strava_pipeline.strava.quota.windows import CallOutcome, Lane, Pair, RateHeaders
from strava_pipeline.warehouse.quota.ledger import PostgresLedger
from strava_pipeline.warehouse.quota.outages import store_outage
from strava_pipeline.warehouse.restored import hold_calls
from strava_pipeline.warehouse.upkeep.due import add_missing
from strava_pipeline_tests.inbox import connect_riders

# Windows so long that none ends during a test.
SHORT_S, LONG_S = 500_000_000, 1_000_000_000
RATES = RateHeaders(
    read_limit=Pair(120, 1200), read_usage=Pair(13, 23), overall_limit=Pair(240, 2400), overall_usage=Pair(13, 23)
)


@pytest.fixture(autouse=True)
def long_windows(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_QUOTA_SHORT_WINDOW_SECONDS", str(SHORT_S))
    monkeypatch.setenv("STRAVA_QUOTA_LONG_WINDOW_SECONDS", str(LONG_S))


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["quota", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def shown() -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(run("--format", "json"))
    return answer


def call(engine: Engine, athlete_id: int = 1, status: int = 200, **more: Any) -> None:
    ledger = PostgresLedger(engine, RateLimits.from_settings(load_settings()))
    reservation = ledger.reserve(
        Lane.LIVE, "/athlete", athlete_id, longest=timedelta(seconds=30), max_wait=timedelta(0)
    )
    now = datetime.now(UTC).replace(microsecond=0)
    ledger.settle(
        reservation,
        CallOutcome(status, 1.0, server_time=now, limit_reached=status == 429, **({"answered": True} | more)),
    )


def test_before_any_request_everything_is_free() -> None:
    short, long = shown()["windows"]
    assert (short["used_by_us"], short["read"], short["overall"]["limit"]) == (
        0,
        {"limit": 100, "used_by_others": 0},
        None,
    )
    assert (long["used_by_us"], long["read"]["limit"], long["open_to"]["live"]) == (0, 1000, 1000)
    assert shown()["calls_of_the_last_hour"] == {}
    assert "no request was sent to Strava in the last hour" in run()


def test_upkeeps_need_is_shown_beside_its_share(engine: Engine) -> None:
    connect_riders(engine, 1, 2)
    with engine.begin() as connection:
        add_missing(connection)
    assert shown()["upkeep"] | {"due_since": None} == {
        "needed_a_day": 14.0,
        "share_a_day": 215,
        "tasks_due": 4,
        "due_since": None,
        "tasks_failing": 0,
    }
    assert "upkeep: 2 athletes need 14 requests a day" in run()


def test_use_limits_reserve_and_lanes_are_shown(engine: Engine) -> None:
    call(engine, rates=RATES)
    call(engine, status=500)
    short, long = shown()["windows"]
    assert short["used_by_us"] == 2
    assert short["read"] == {"limit": 120, "used_by_others": 12}
    assert short["overall"] == {"limit": 240, "used_by_others": 12}
    assert short["open_to"]["live"] == 120 - 2 - 12
    live, upkeep, backfill = (short["open_to"][lane] for lane in ("live", "reconcile", "backfill"))
    assert live > backfill > upkeep
    # Backfills leave the reserve, and of upkeep's share what belongs to the rest of the window.
    assert live - short["reserve"] - upkeep <= backfill <= live - short["reserve"] + 1
    assert (long["read"]["used_by_others"], long["blocked_until"]) == (22, None)
    now = datetime.now(UTC)
    assert datetime.fromisoformat(short["starts_at"]) < now < datetime.fromisoformat(short["resets_at"])
    assert shown()["calls_of_the_last_hour"] == {"200": 1, "500": 1}


def test_a_block_shuts_every_lane_and_is_named(engine: Engine) -> None:
    call(engine, status=429, retry_after=timedelta(hours=1))
    short, long = shown()["windows"]
    assert datetime.fromisoformat(short["blocked_until"]) > datetime.now(UTC)
    assert long["blocked_until"] is None
    assert set(short["open_to"].values()) | set(long["open_to"].values()) == {0}
    table = run()
    assert "app: may be sent now: live 0, reconcile 0, backfill 0" in table
    assert "in the last hour: 1 x 429" in table


def test_the_table_says_what_the_figures_are(engine: Engine) -> None:
    call(engine, rates=RATES)
    table = run()
    lines = {line.split("  ")[1].strip(): line.split()[-2:] for line in table.splitlines() if line.startswith("  ")}
    assert (lines["used by us"], lines["used by others"]) == (["1", "1"], ["12", "22"])
    assert (lines["limit of reads"], lines["of all calls"]) == (["120", "1200"], ["240", "2400"])
    assert lines["open to live"] == ["107", "1177"]
    assert "app: may be sent now: live 107" in table


def test_limits_of_athletes_are_shown_for_each(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_QUOTA_SCOPE", "athlete")
    assert shown()["windows"] == []
    assert "no request" in run()
    call(engine, athlete_id=5)
    call(engine, athlete_id=6)
    call(engine, athlete_id=6)
    assert [(window["scope"], window["used_by_us"]) for window in shown()["windows"]] == [
        ("athlete:5", 1),
        ("athlete:5", 1),
        ("athlete:6", 2),
        ("athlete:6", 2),
    ]


def test_it_says_since_when_strava_does_not_answer(engine: Engine) -> None:
    since = datetime(2025, 5, 1, 12, tzinfo=UTC)
    state = Outage(9, since, several=True, away_since=since, probe_at=since, reason="no connection")
    with engine.begin() as connection:
        store_outage(connection, Service.API, state)
    line = "Strava does not answer since 2025-05-01 12:00 UTC (no connection); tried again with the next call"
    assert line in run()
    assert shown()["outages"] == [line]


def test_a_restored_database_that_is_not_checked_is_told(engine: Engine) -> None:
    with engine.begin() as connection:
        hold_calls(connection)
    (line,) = shown()["outages"]
    assert "nothing calls Strava until strava-pipeline restore check has passed" in line
    assert line in run()
