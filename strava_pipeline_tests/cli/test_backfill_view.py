"""The view of a backfill under way."""

from __future__ import annotations

from datetime import datetime

import time_machine

from strava_pipeline.cli.backfill_view import Sight, Snapshot
from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.progress.job_progress import Completeness

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
