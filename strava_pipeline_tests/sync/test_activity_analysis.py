"""From stored streams to stored figures: every table, replaced whole, routes known again, zones of the day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, Table, func, insert, select, update

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.months import Span
from strava_pipeline.strava.mapping.activity import summary_row
from strava_pipeline.strava.mapping.streams import map_streams
from strava_pipeline.sync import activity_analysis
from strava_pipeline.sync.activity_analysis import ROUTE_COLUMNS, analyse_stored, athlete_of
from strava_pipeline.sync.backfill import NotAnalysed, analyse_span
from strava_pipeline.warehouse.activities.deletion import delete_activities
from strava_pipeline.warehouse.activities.stream_store import store_streams
from strava_pipeline.warehouse.analysis.analyses import not_analysed
from strava_pipeline.warehouse.bulk import store_newer
from strava_pipeline.warehouse.schema.analysis_tables import (
    ANALYSIS_TABLES,
    descents,
    route_analyses,
    route_matches,
    zone_times,
)
from strava_pipeline.warehouse.schema.tables import activities, athlete_zones, athletes
from strava_pipeline_tests.strava_stand_in import RIDER, activity_body

START = datetime(2025, 6, 10, 8, tzinfo=UTC)
JUNE = Span(RIDER, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))


def ride(*, mps: float = 8.0, back: bool = False, count: int = 1_500, north: float = 0.0) -> dict[str, Any]:
    """A hilly road with every sensor, as Strava tells it; ``back``: from its other end."""
    time = np.arange(count)
    along = mps * time
    place = along[-1] - along if back else along
    latitude = 47 + north + place / 111_195 * 0.7
    longitude = 8 + place / 111_195 + 0.002 * np.sin(place / 700)
    altitude = np.where(place < 6_000, 400 + 0.06 * place, 760 - 0.06 * (place - 6_000))
    moving = (time < 700) | (time > 730)
    series = {
        "time": time.tolist(),
        "distance": along.tolist(),
        "latlng": np.stack((latitude, longitude), axis=1).tolist(),
        "altitude": altitude.tolist(),
        "velocity_smooth": np.full(count, mps).tolist(),
        "heartrate": (140 + time % 9).tolist(),
        "cadence": (85 + time % 5).tolist(),
        "watts": (200 + time % 50).tolist(),
        "moving": moving.tolist(),
    }
    return {name: {"data": values} for name, values in series.items()}


def add(engine: Engine, number: int, streams: dict[str, Any], asked_at: datetime = START, **more: Any) -> None:
    body = activity_body(number, START + timedelta(days=number), **more)
    with engine.begin() as connection:
        store_newer(connection, activities, [summary_row(RIDER, body) | {"fetched_at": asked_at, "resource_state": 2}])
        store_streams(connection, map_streams(RIDER, number, streams), asked_at)


def analysed(engine: Engine, number: int) -> bool:
    with engine.begin() as connection:
        return analyse_stored(connection, number)


def rows(engine: Engine, table: Table, number: int) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(table).where(table.c.activity_id == number).order_by(*table.primary_key)))


def counts(engine: Engine, number: int) -> dict[str, int]:
    return {table.name: len(rows(engine, table, number)) for table in ANALYSIS_TABLES}


def test_a_ride_fills_every_table(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(athletes).values(id=RIDER, ftp=250, fetched_at=START))
    add(engine, 1, ride())
    assert analysed(engine, 1)
    assert all(counts(engine, 1).values()), counts(engine, 1)
    (figures,) = rows(engine, route_analyses, 1)
    assert figures.distance_m == pytest.approx(8 * 1_499)
    assert figures.load_source == "power"
    assert figures.route_kind == "point_to_point"
    (descent,) = rows(engine, descents, 1)
    assert descent.average_grade_percent == pytest.approx(-6, rel=0.05)


def test_a_second_analysis_replaces_the_first_in_every_table(engine: Engine) -> None:
    add(engine, 1, ride())
    analysed(engine, 1)
    before = counts(engine, 1)
    analysed(engine, 1)
    assert counts(engine, 1) == before
    add(engine, 1, ride(count=100), asked_at=START + timedelta(hours=1))
    analysed(engine, 1)
    after = counts(engine, 1)
    assert after["route_analyses"] == 1
    assert after["computed_splits"] < before["computed_splits"]
    assert after["stops"] == after["descents"] == 0


def test_one_ride_that_cannot_be_analysed_does_not_keep_the_others_from_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def analyse_but(connection: Connection, activity_id: int) -> bool:
        if activity_id == 1:
            raise ZeroDivisionError("a text with anything in it")
        return analyse_stored(connection, activity_id)

    for number in (1, 2, 3):
        add(engine, number, ride(count=100))
    monkeypatch.setattr(activity_analysis, "analyse_stored", analyse_but)
    told = "^1 of 3 activities could not be analysed: 1; see the log of the run$"
    with pytest.raises(NotAnalysed, match=told) as caught:
        analyse_span(engine, JUNE)
    assert caught.value.failed == (1,)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with engine.connect() as connection:
        assert not_analysed(connection, JUNE) == [1]


def test_a_database_that_is_away_ends_the_analyses_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def away(_connection: Connection, activity_id: int) -> bool:
        tried.append(activity_id)
        raise DatabaseUnavailable("restart of Postgres")

    for number in (1, 2):
        add(engine, number, ride(count=100))
    monkeypatch.setattr(activity_analysis, "analyse_stored", away)
    with pytest.raises(DatabaseUnavailable):
        analyse_span(engine, JUNE)
    assert tried == [1]


def test_positions_that_are_gone_leave_no_route_behind(engine: Engine) -> None:
    add(engine, 1, ride())
    analysed(engine, 1)
    hidden = {name: stream for name, stream in ride().items() if name != "latlng"}
    add(engine, 1, hidden, asked_at=START + timedelta(hours=1))
    analysed(engine, 1)
    (figures,) = rows(engine, route_analyses, 1)
    assert [value for name, value in figures._asdict().items() if name in ROUTE_COLUMNS and value is not None] == []
    assert rows(engine, route_matches, 1) == []


def test_what_older_formulas_computed_is_analysed_again(engine: Engine) -> None:
    add(engine, 1, ride(count=100))
    analysed(engine, 1)
    with engine.begin() as connection:
        assert not_analysed(connection, JUNE) == []
        connection.execute(update(route_analyses).values(analysis_version=None))
        assert not_analysed(connection, JUNE) == [1]


def test_an_analysis_that_fails_half_way_leaves_the_old_one(engine: Engine) -> None:
    add(engine, 1, ride())
    analysed(engine, 1)
    before = counts(engine, 1)
    add(engine, 1, ride(count=100), asked_at=START + timedelta(hours=1))
    connection = engine.connect()
    analyse_stored(connection, 1)
    # The process dies before it commits.
    connection.invalidate()
    connection.close()
    assert counts(engine, 1) == before


def test_nothing_is_analysed_without_samples_or_activity(engine: Engine) -> None:
    add(engine, 1, {})
    assert not analysed(engine, 1)
    assert not analysed(engine, 2)


def test_the_same_road_is_one_route_and_its_times_are_ranked_by_direction(engine: Engine) -> None:
    for number, streams in enumerate(
        (ride(), ride(mps=10, count=1_200), ride(mps=9, count=1_333, back=True), ride(north=0.05)), start=1
    ):
        add(engine, number, streams)
        analysed(engine, number)
    taken = {number: rows(engine, route_matches, number)[0] for number in (1, 2, 3, 4)}
    assert [(row.route_id, row.reversed) for row in taken.values()] == [(1, False), (1, False), (1, True), (4, False)]
    with engine.connect() as connection:
        ranks = connection.exec_driver_sql(
            "SELECT activity_id, rank_on_route, times_taken FROM strava.route_ranks ORDER BY activity_id"
        )
        assert [tuple(row) for row in ranks] == [(1, 2, 2), (2, 1, 2), (3, 1, 1), (4, 1, 1)]


def test_a_route_outlives_the_activity_that_was_the_first_on_it(engine: Engine) -> None:
    for number in (1, 2):
        add(engine, number, ride())
        analysed(engine, number)
    with engine.begin() as connection:
        delete_activities(connection, [1])
    add(engine, 3, ride(back=True))
    analysed(engine, 3)
    (row,) = rows(engine, route_matches, 3)
    assert (row.route_id, row.reversed) == (1, True)


def test_records_follow_what_is_stored(engine: Engine) -> None:
    add(engine, 1, ride())
    add(engine, 2, ride(mps=10, count=1_200))
    for number in (1, 2):
        analysed(engine, number)

    def holder() -> int:
        with engine.connect() as connection:
            query = "SELECT activity_id FROM strava.athlete_records WHERE measure = 'elapsed_time_s' AND amount = 5000"
            found: int = connection.exec_driver_sql(query).scalar_one()
        return found

    assert holder() == 2
    with engine.begin() as connection:
        delete_activities(connection, [2])
    assert holder() == 1


def test_zones_are_those_of_the_day(engine: Engine) -> None:
    def zones(since: date, *lows: int) -> None:
        with engine.begin() as connection:
            for zone, low in enumerate(lows, start=1):
                connection.execute(
                    insert(athlete_zones).values(
                        athlete_id=RIDER, kind="heart_rate", valid_from=since, zone=zone, min=low, fetched_at=START
                    )
                )

    zones(date(2025, 6, 1), 0, 120, 150)
    zones(date(2025, 7, 1), 0, 130, 160, 180)
    with engine.connect() as connection:
        lows = [
            athlete_of(connection, RIDER, day).heart_zones
            for day in (date(2025, 5, 1), date(2025, 6, 30), date(2025, 7, 1))
        ]
    assert lows == [(0, 120, 150), (0, 120, 150), (0, 130, 160, 180)]
    add(engine, 1, ride())
    analysed(engine, 1)
    kept = [(row.zone, row.low, row.high) for row in rows(engine, zone_times, 1) if row.kind == "heart_rate"]
    assert kept == [(1, 0, 120), (2, 120, 150), (3, 150, None)]


def test_the_highest_heart_rate_is_the_athletes_own_and_believable(engine: Engine) -> None:
    add(engine, 1, {}, max_heartrate=187)
    add(engine, 2, {}, max_heartrate=245)
    with engine.connect() as connection:
        assert athlete_of(connection, RIDER, START.date()).highest_bpm == 187
        assert athlete_of(connection, RIDER + 1, START.date()).highest_bpm == 190
        assert connection.execute(select(func.count()).select_from(activities)).scalar_one() == 2
