"""Months that an import has reached: those without activities as well, and never by an older answer."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine, select

from strava_pipeline.errors import NeedsReauthorization, RetriableStravaError
from strava_pipeline.months import Span, month_span
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.activities.lake_months import note_in_lake
from strava_pipeline.warehouse.imports.listed_months import note_listed
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.import_tables import import_months
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn

MAY, JUNE, JULY = (month_span(RIDER, datetime(2025, month, 1, tzinfo=UTC)) for month in (5, 6, 7))
AT = datetime(2025, 8, 1, tzinfo=UTC)


def listed(engine: Engine) -> dict[date, datetime | None]:
    with engine.connect() as connection:
        return {row.month: row.listed_at for row in connection.execute(select(import_months))}


def test_a_listing_notes_each_month_even_without_activities(engine: Engine) -> None:
    strava = StravaStandIn()
    strava.add(1, JUNE.start)
    list(import_summaries(strava.sync(engine), [JULY, JUNE, MAY]))
    found = listed(engine)
    assert set(found) == {date(2025, 5, 1), date(2025, 6, 1), date(2025, 7, 1)}
    assert len(set(found.values())) == 1  # one listing


def test_a_listing_that_fails_reached_no_month(engine: Engine) -> None:
    strava = StravaStandIn()
    strava.faults["/athlete/activities"] = [RetriableStravaError("no connection")]
    with pytest.raises(RetriableStravaError):
        list(import_summaries(strava.sync(engine), [JUNE]))
    assert listed(engine) == {}


def test_a_part_of_a_month_is_no_month(engine: Engine) -> None:
    with engine.begin() as connection:
        note_listed(connection, Span(RIDER, JUNE.start, JUNE.end - timedelta(days=1)), AT)
        note_listed(connection, Span(RIDER, JUNE.start, JULY.end), AT)
    assert listed(engine) == {}


def test_an_older_answer_that_comes_late_changes_nothing(engine: Engine) -> None:
    for moment in (AT, AT - timedelta(hours=1)):
        with engine.begin() as connection:
            note_listed(connection, JUNE, moment)
    assert listed(engine) == {date(2025, 6, 1): AT}


def test_the_lake_is_noted_beside_the_listing(engine: Engine) -> None:
    with engine.begin() as connection:
        note_listed(connection, JUNE, AT)
        note_in_lake(connection, JUNE, AT + timedelta(hours=1))
        row = connection.execute(select(import_months)).one()
    assert (row.listed_at, row.lake_at) == (AT, AT + timedelta(hours=1))


def test_nothing_is_noted_of_an_athlete_who_left(engine: Engine) -> None:
    with engine.begin() as connection:
        row = {"athlete_id": RIDER, "scopes": [], "state": "revoked", "generation": 1}
        connection.execute(users.insert().values(row))
    with pytest.raises(NeedsReauthorization), engine.begin() as connection:
        note_listed(connection, JUNE, AT)
    with engine.begin() as connection:
        note_in_lake(connection, JUNE, AT)
    assert listed(engine) == {}
