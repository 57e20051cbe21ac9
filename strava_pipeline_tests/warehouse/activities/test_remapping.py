"""Re-map: the tables again from the stored answers, with no request, in batches, from where it stopped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select, text

from strava_pipeline.months import Span
from strava_pipeline.sync.backfill import import_details
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.activities.remapping import Remapped, remap
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import (
    activities,
    best_efforts,
    gear,
    laps,
    photos,
    segment_efforts,
    segments,
    splits,
)
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn

JUNE = Span(RIDER, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
REBUILT = (activities, laps, splits, best_efforts, segment_efforts, segments, photos, gear)


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    """June is stored: 1 with a detail that knows the length better, 2 edited since, 3 only listed."""
    strava = StravaStandIn()
    best = {"id": 5, "name": "5K", "distance": 5000, "elapsed_time": 1200, "start_date": "2025-06-02T08:00:00Z"}
    for number in (1, 2):
        strava.add(
            number,
            JUNE.start + timedelta(days=number),
            best_efforts=[best | {"id": number}],
            gear={"id": "b1", "name": "Blue"},
        )
    sync = strava.sync(engine)
    strava.edit(1, distance=0)
    list(import_summaries(sync, [JUNE]))
    strava.edit(1, distance=1234.5)
    import_details(sync, JUNE)
    strava.add(3, JUNE.start + timedelta(days=3))
    strava.edit(1, distance=0, kudos_count=8)
    strava.edit(2, name="Renamed")
    list(import_summaries(sync, [JUNE]))
    strava.new_requests()
    return strava


def content(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    with engine.connect() as connection:
        return {table.name: sorted(map(tuple, connection.execute(select(table))), key=repr) for table in REBUILT}


def clock(engine: Engine) -> datetime:
    with engine.connect() as connection:
        return now(connection)


def rebuild(engine: Engine, **how: Any) -> list[Remapped]:
    return list(remap(engine, **{"before": clock(engine), **how}))


def test_rows_changed_by_hand_and_columns_emptied_are_as_before(strava: StravaStandIn, engine: Engine) -> None:
    before = content(engine)
    assert all(before.values())
    with engine.begin() as connection:
        for damage in (
            "UPDATE strava.activities SET distance = -1, calories = NULL, start_date_local = NULL",
            "UPDATE strava.segments SET name = 'wrong'",
            "UPDATE strava.gear SET name = 'wrong'",
            "DELETE FROM strava.laps; DELETE FROM strava.photos; UPDATE strava.best_efforts SET name = 'none'",
        ):
            connection.exec_driver_sql(damage)
    assert [batch.rebuilt for batch in rebuild(engine)] == [3]
    assert content(engine) == before
    assert strava.new_requests() == []


def test_tables_that_were_emptied_are_filled_again(strava: StravaStandIn, engine: Engine) -> None:
    before = content(engine)
    with engine.begin() as connection:
        for table in REBUILT:
            connection.execute(table.delete())
    rebuild(engine)
    after = content(engine)
    assert {name: len(rows) for name, rows in after.items()} == {name: len(rows) for name, rows in before.items()}
    assert after["activities"] == before["activities"]


def test_what_is_the_same_is_not_written_again(strava: StravaStandIn, engine: Engine) -> None:
    versions = text("SELECT id, xmin::text, ctid::text FROM strava.activities ORDER BY 1")
    with engine.connect() as connection:
        before = connection.execute(versions).all()
    rebuild(engine)
    with engine.connect() as connection:
        assert connection.execute(versions).all() == before


def test_an_interrupted_one_goes_on_and_a_new_one_begins_anew(strava: StravaStandIn, engine: Engine) -> None:
    began = clock(engine)
    first = next(iter(remap(engine, before=began, batch=2)))
    assert (first.last_id, first.rebuilt) == (2, 2)
    assert [batch.last_id for batch in rebuild(engine, before=began)] == [3]
    assert rebuild(engine, before=began) == []
    assert [batch.rebuilt for batch in rebuild(engine)] == [3]


def test_one_athlete_alone_can_be_re_mapped(strava: StravaStandIn, engine: Engine) -> None:
    assert rebuild(engine, athlete_id=RIDER + 1) == []
    assert [batch.rebuilt for batch in rebuild(engine, athlete_id=RIDER)] == [3]


def test_an_answer_that_does_not_map_is_told_and_its_rows_stay(strava: StravaStandIn, engine: Engine) -> None:
    before = content(engine)["activities"]
    with engine.begin() as connection:
        connection.execute(
            payloads.update()
            .where(payloads.c.activity_id == 2)
            .values(body={"id": 2, "name": "no start", "type": "Run"})
        )
    (batch,) = rebuild(engine)
    assert (batch.rebuilt, list(batch.odd)) == (2, [2])
    assert "start_date is missing" in batch.odd[2]
    assert content(engine)["activities"] == before


def test_what_was_deleted_is_not_brought_back(strava: StravaStandIn, engine: Engine) -> None:
    strava.delete(2)
    list(import_summaries(strava.sync(engine), [JUNE]))
    rebuild(engine)
    with engine.connect() as connection:
        assert list(connection.execute(select(activities.c.id).order_by(activities.c.id)).scalars()) == [1, 3]
