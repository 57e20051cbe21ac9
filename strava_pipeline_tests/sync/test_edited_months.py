"""What an edit drops of an activity is imported again, whoever asked for how much of its month."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine, func, select

from strava_pipeline.months import Span, add_months, month_span, month_start
from strava_pipeline.sync import history
from strava_pipeline.sync.backfill import analyse_span, import_details, import_streams
from strava_pipeline.sync.history import compare_history, import_history, import_months
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.states import ImportStep, MadeBy
from strava_pipeline_tests.inbox import bring_up_to_date, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn
from strava_pipeline_tests.wishes import STEPS, lacks, wish_for

FLOOR = date(2008, 1, 1)
THIS_MONTH = month_start(datetime.now(UTC).date())
MONTH = month_span(RIDER, add_months(THIS_MONTH, -2))
LAST_MONTH = add_months(THIS_MONTH.date(), -1)
WHOLE = Span(RIDER, month_start(FLOOR), add_months(THIS_MONTH, 1))
DETAIL, STREAMS, FIGURES = ImportStep.DETAIL, ImportStep.STREAMS, ImportStep.FIGURES
CROP, RENAME = {"elapsed_time": 100, "distance": 500.0}, {"name": "Renamed"}


def compare(strava: StravaStandIn, engine: Engine) -> Iterator[object]:
    return compare_history(strava.sync(engine), RIDER, FLOOR)


def list_month(strava: StravaStandIn, engine: Engine) -> Iterator[object]:
    return import_months(strava.sync(engine), [MONTH])


def list_all(strava: StravaStandIn, engine: Engine) -> Iterator[object]:
    return import_history(strava.sync(engine), WHOLE)


LISTINGS = [compare, list_month, list_all]
Listing = Callable[[StravaStandIn, Engine], Iterator[object]]


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    """A ride that webhooks brought, with all that belongs to it, in a month of which only the list was asked for."""
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    strava.add(1, MONTH.start + timedelta(days=1))
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    wish_for(engine, MONTH.start.date(), THIS_MONTH.date(), steps=[ImportStep.SUMMARY], by=MadeBy.COMMAND)
    list(list_month(strava, engine))
    # The athlete's detail fits this listing from here on.
    import_details(strava.sync(engine), MONTH)
    strava.new_requests()
    return strava


def samples(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(activity_streams)).scalar_one()


def wanted(engine: Engine) -> list[ImportStep]:
    """What upkeep has asked for of the month."""
    of_month = (imports.c.made_by == "upkeep", imports.c.first_month == MONTH.start.date())
    with engine.connect() as connection:
        steps = connection.execute(select(imports.c.steps).where(*of_month, imports.c.last_month == MONTH.start.date()))
        return list(map(ImportStep, steps.scalar() or ()))


@pytest.mark.parametrize("listing", LISTINGS)
def test_samples_of_a_crop_are_imported_again(strava: StravaStandIn, engine: Engine, listing: Listing) -> None:
    strava.edit(1, **CROP)
    list(listing(strava, engine))
    assert samples(engine) == 0
    assert wanted(engine) == [DETAIL, STREAMS, FIGURES]
    import_details(strava.sync(engine), MONTH, due=True)
    import_streams(strava.sync(engine), MONTH, due=True)
    analyse_span(engine, MONTH)
    with engine.connect() as connection:
        asked_for = connection.execute(select(imports.c.id).where(imports.c.made_by == "upkeep")).scalar_one()
    assert samples(engine) == 1
    assert lacks(engine, asked_for).nothing


@pytest.mark.parametrize("listing", LISTINGS)
def test_of_a_renamed_ride_the_detail_alone_is_imported_again(
    strava: StravaStandIn, engine: Engine, listing: Listing
) -> None:
    strava.edit(1, **RENAME)
    list(listing(strava, engine))
    assert (samples(engine), wanted(engine)) == (1, [DETAIL])


def test_a_crop_that_only_a_detail_tells_of_brings_new_samples(strava: StravaStandIn, engine: Engine) -> None:
    strava.edit(1, **RENAME)
    list(compare(strava, engine))
    strava.edit(1, **CROP)
    import_details(strava.sync(engine), MONTH)
    assert samples(engine) == 0
    assert wanted(engine) == [DETAIL, STREAMS, FIGURES]


def test_nothing_more_is_wanted_where_several_imports_want_it_together(strava: StravaStandIn, engine: Engine) -> None:
    wish_for(engine, MONTH.start.date(), LAST_MONTH, steps=[DETAIL], by=MadeBy.COMMAND)
    wish_for(engine, FLOOR, MONTH.start.date(), steps=[STREAMS, FIGURES], by=MadeBy.COMMAND)
    strava.edit(1, **CROP)
    list(compare(strava, engine))
    assert (samples(engine), wanted(engine)) == (0, [])


def test_an_import_of_everything_wants_nothing_beside_it(strava: StravaStandIn, engine: Engine) -> None:
    wish_for(engine, steps=STEPS)
    strava.edit(1, **CROP)
    list(list_month(strava, engine))
    assert (samples(engine), wanted(engine)) == (0, [])


def test_nothing_is_dropped_unless_it_is_wanted_again(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies in between leaves a month as it was, and the next one finds the difference."""
    strava.edit(1, **CROP, **RENAME)
    with monkeypatch.context() as patched:
        patched.setattr(history, "import_edited", lambda *_: 1 / 0)
        list(compare(strava, engine))
    with engine.connect() as connection:
        assert connection.execute(select(activities.c.name)).scalar() == "Ride 1"
    assert samples(engine) == 1
    list(compare(strava, engine))
    assert wanted(engine) == [DETAIL, STREAMS, FIGURES]
