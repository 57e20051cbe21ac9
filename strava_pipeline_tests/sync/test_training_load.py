"""Training load in the database: from the first changed day on, and the same as computed whole."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from threading import Thread

import pytest
from sqlalchemy import Engine, delete, insert, select, update

from strava_pipeline.sync.training_load import update_training_load
from strava_pipeline.warehouse.activities.deletion import delete_activities
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses, training_load
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline_tests.strava_stand_in import RIDER

START = datetime(2025, 6, 1, 9, tzinfo=UTC)
UNTIL = date(2025, 7, 15)


def add(engine: Engine, number: int, day: int, load: float | None = 50.0) -> None:
    """An analysed activity on the so-many-th day from the start."""
    start = START + timedelta(days=day)
    with engine.begin() as connection:
        connection.execute(
            insert(activities).values(
                id=number, athlete_id=RIDER, resource_state=2, name="", type="Ride", sport_type="Ride",
                start_date=start, start_date_local=start.replace(tzinfo=None), fetched_at=start,
            )
        )  # fmt: skip
        connection.execute(
            insert(route_analyses).values(
                activity_id=number, athlete_id=RIDER, point_count=1, training_load=load,
                streams_fetched_at=start, analysed_at=start,
            )
        )  # fmt: skip


def stored(engine: Engine) -> list[tuple[object, ...]]:
    c = training_load.c
    query = select(c.day, c.activity_count, c.load, c.fitness, c.fatigue, c.form, c.monotony, c.strain).order_by(c.day)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def whole(engine: Engine) -> list[tuple[object, ...]]:
    """The days as computed from nothing."""
    with engine.begin() as connection:
        connection.execute(delete(training_load))
    update_training_load(engine, RIDER, UNTIL)
    return stored(engine)


@pytest.fixture
def trained(engine: Engine) -> Engine:
    for number, day in enumerate((0, 1, 4, 9, 20), start=1):
        add(engine, number, day, load=10.0 * number)
    update_training_load(engine, RIDER, UNTIL)
    return engine


def test_every_day_from_the_first_activity_on_has_a_row(trained: Engine) -> None:
    days = stored(trained)
    assert len(days) == (UNTIL - START.date()).days + 1
    assert days[0][:3] == (START.date(), 1, 10.0)
    assert days[2][:3] == (START.date() + timedelta(days=2), 0, 0.0)


def test_nothing_changed_writes_nothing(trained: Engine) -> None:
    assert update_training_load(trained, RIDER, UNTIL) == 0


def test_a_new_day_adds_one_row(trained: Engine) -> None:
    assert update_training_load(trained, RIDER, UNTIL + timedelta(days=1)) == 1


def test_a_late_upload_computes_from_its_day_on(trained: Engine) -> None:
    add(trained, 99, 12, load=80.0)
    assert update_training_load(trained, RIDER, UNTIL) == (UNTIL - START.date()).days + 1 - 12
    assert stored(trained) == whole(trained)


def test_an_activity_before_all_others_computes_everything(trained: Engine) -> None:
    add(trained, 99, -3)
    update_training_load(trained, RIDER, UNTIL)
    assert stored(trained)[0][0] == START.date() - timedelta(days=3)
    assert stored(trained) == whole(trained)


@pytest.mark.parametrize("gone", [[1], [3], [5], [1, 2]])
def test_deleted_activities_leave_no_load_behind(trained: Engine, gone: list[int]) -> None:
    with trained.begin() as connection:
        delete_activities(connection, gone)
    update_training_load(trained, RIDER, UNTIL)
    assert stored(trained) == whole(trained)


def test_the_last_activity_deleted_leaves_no_day(trained: Engine) -> None:
    with trained.begin() as connection:
        delete_activities(connection, [1, 2, 3, 4, 5])
    assert update_training_load(trained, RIDER, UNTIL) == 0
    assert stored(trained) == []


def test_an_analysis_that_changed_counts_anew(trained: Engine) -> None:
    with trained.begin() as connection:
        connection.execute(update(route_analyses).where(route_analyses.c.activity_id == 4).values(training_load=None))
    update_training_load(trained, RIDER, UNTIL)
    assert stored(trained)[9][:3] == (START.date() + timedelta(days=9), 1, 0.0)
    assert stored(trained) == whole(trained)


def test_two_at_once_end_as_one(trained: Engine) -> None:
    add(trained, 99, 2)
    both = [Thread(target=update_training_load, args=(trained, RIDER, UNTIL)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert stored(trained) == whole(trained)
