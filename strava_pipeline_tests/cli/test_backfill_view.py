"""The view of a backfill under way."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import time_machine
from sqlalchemy import Engine

from strava_pipeline.cli.backfill_view import Sight, Snapshot, look
from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.months import month_span
from strava_pipeline.names import Asset
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.progress.job_progress import Completeness, ProgressReport, save_progress

SHOWN = Snapshot(Completeness(listed=5, detailed=3, streamed=2), details=True, streams=True)


def test_a_database_that_is_away_is_shown_with_the_last_counts() -> None:
    away = DatabaseUnavailable("the database at h/d is away: no route")
    answers: list[Snapshot | DatabaseUnavailable] = [away, SHOWN, away, away, SHOWN]

    def look_now() -> Snapshot:
        answer = answers.pop(0)
        if isinstance(answer, DatabaseUnavailable):
            raise answer
        return answer

    sight = Sight(look_now)
    assert sight.now() is None
    assert sight.now() is SHOWN
    told = []
    for minute in (3, 4):
        with time_machine.travel(datetime.fromisoformat(f"2026-11-03T12:0{minute}:00+00:00"), tick=False):
            told.append(sight.now())
    waiting = "waiting since 2026-11-03 12:03 UTC: the database at h/d is away: no route"
    assert [view and view.text for view in told] == [f"5 activities listed, 3 detailed, 2 with samples, {waiting}"] * 2
    assert sight.now() is SHOWN


@pytest.mark.parametrize(
    ("until", "told"),
    [
        (datetime(2026, 11, 30, 14, 45, tzinfo=UTC), "waiting until 14:45:00 UTC: the day is used up"),
        (None, "waiting: the day is used up"),
    ],
    ids=["until a time", "between two waits"],
)
def test_what_the_run_waits_for_is_told(settings: Settings, engine: Engine, until: datetime | None, told: str) -> None:
    span = month_span(1001, datetime(2026, 10, 1, tzinfo=UTC))
    with engine.begin() as connection:
        report = ProgressReport("a run", span, "activities", Completeness(0, 0, 0), 3, "the day is used up", until)
        save_progress(connection, report)
    assert told in look(engine, settings, span, (Asset.ACTIVITIES,)).text.split(", ")
