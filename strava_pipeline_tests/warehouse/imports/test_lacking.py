"""What an import lacks: everything that was asked for, newest first; not what is put aside, gone or out of range."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine, delete, select, update

from strava_pipeline.errors import RejectedRequest
from strava_pipeline.months import Span, add_months, month_span
from strava_pipeline.sync.backfill import analyse_span, import_details, import_streams
from strava_pipeline.sync.history import import_months
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.activities.lake_months import note_in_lake
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports.failed_months import note_failed
from strava_pipeline.warehouse.imports.histories import note_history, note_profile
from strava_pipeline.warehouse.imports.listed_months import note_listed
from strava_pipeline.warehouse.retention import remove_activities_before
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.history_tables import put_aside
from strava_pipeline.warehouse.schema.import_tables import failed_months
from strava_pipeline.warehouse.states import ImportStep, MadeBy
from strava_pipeline_tests.inbox import LONG_AGO, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn
from strava_pipeline_tests.wishes import STEPS, change, lacks, wish_for

MAY, JUNE, JULY = date(2025, 5, 1), date(2025, 6, 1), date(2025, 7, 1)


def month(first: date) -> Span:
    return month_span(RIDER, datetime(first.year, first.month, 1, tzinfo=UTC))


def day(number: int, first: date = JUNE) -> datetime:
    return datetime(first.year, first.month, number, 8, tzinfo=UTC)


@pytest.fixture(autouse=True)
def rider(engine: Engine) -> None:
    connect_riders(engine, RIDER)


@pytest.fixture
def strava() -> StravaStandIn:
    """Strava with a ride in May, and one in June that was entered by hand beside another."""
    strava = StravaStandIn()
    strava.add(1, day(5, MAY))
    strava.add(2, day(6), manual=True)
    strava.add(3, day(7))
    return strava


def list_history(strava: StravaStandIn, engine: Engine, begins_on: date | None = MAY) -> None:
    """As a listing of the whole history does."""
    with engine.connect() as connection:
        asked_at = now(connection)
    assert list(import_summaries(strava.sync(engine), [month(JUNE), month(MAY)]))
    with engine.begin() as connection:
        note_history(connection, RIDER, begins_on, asked_at)


def fill(strava: StravaStandIn, engine: Engine, *firsts: date) -> None:
    sync = strava.sync(engine)
    for first in firsts:
        import_details(sync, month(first))
        import_streams(sync, month(first))
        analyse_span(engine, month(first))


def test_a_new_wish_lacks_a_listing_of_the_whole_history_and_the_profile(engine: Engine) -> None:
    found = lacks(engine, wish_for(engine, profile=True), date(2024, 3, 1))
    with engine.connect() as connection:
        this = add_months(now(connection).date(), 0)
    assert found.listing is not None
    assert found.listing.start.date() == date(2024, 3, 1)
    assert found.listing.end.date() == add_months(this, 1)
    assert found.profile
    assert found.months == ()
    assert found.next_month == this
    assert not found.nothing


def test_what_was_asked_for_before_the_wish_is_asked_for_again(strava: StravaStandIn, engine: Engine) -> None:
    list_history(strava, engine)
    with engine.begin() as connection:
        note_profile(connection, RIDER, now(connection))
    asked = wish_for(engine, profile=True)
    assert lacks(engine, asked).listing is not None
    assert lacks(engine, asked).profile
    list_history(strava, engine)
    with engine.begin() as connection:
        note_profile(connection, RIDER, now(connection))
    assert lacks(engine, asked).listing is None
    assert not lacks(engine, asked).profile


def test_an_older_answer_that_comes_late_makes_nothing_listed_longer_ago(engine: Engine) -> None:
    asked = wish_for(engine, profile=True)
    with engine.begin() as connection:
        moment = now(connection)
        for asked_at in (moment, LONG_AGO):
            note_history(connection, RIDER, MAY, asked_at)
            note_profile(connection, RIDER, asked_at)
    assert lacks(engine, asked).nothing


def test_months_come_newest_first_with_what_they_cost(strava: StravaStandIn, engine: Engine) -> None:
    asked = wish_for(engine)
    list_history(strava, engine)
    found = lacks(engine, asked)
    # Three details, and samples of the two that were recorded.
    assert (found.months, found.requests, found.next_month) == ((JUNE, MAY), 5, JUNE)
    fill(strava, engine, JUNE)
    assert lacks(engine, asked).months == (MAY,)
    fill(strava, engine, MAY)
    assert lacks(engine, asked).nothing


def test_only_what_was_asked_for_lacks(strava: StravaStandIn, engine: Engine) -> None:
    asked = wish_for(engine, steps=[ImportStep.SUMMARY, ImportStep.DETAIL])
    list_history(strava, engine)
    for first in (MAY, JUNE):
        import_details(strava.sync(engine), month(first))
    assert lacks(engine, asked).nothing
    more = wish_for(engine, steps=[ImportStep.STREAMS])
    assert more == asked
    list_history(strava, engine)
    assert lacks(engine, asked).months == (JUNE, MAY)


def test_figures_of_older_formulas_lack(strava: StravaStandIn, engine: Engine) -> None:
    asked = wish_for(engine)
    list_history(strava, engine)
    fill(strava, engine, MAY, JUNE)
    with engine.begin() as connection:
        connection.execute(update(route_analyses).where(route_analyses.c.activity_id == 1).values(analysis_version=0))
    assert lacks(engine, asked).months == (MAY,)
    with engine.begin() as connection:
        connection.execute(delete(route_analyses))
    assert lacks(engine, asked).months == (JUNE, MAY)
    assert lacks(engine, asked).requests == 0


def test_files_of_the_lake_lack_where_samples_are_newer(strava: StravaStandIn, engine: Engine) -> None:
    asked = wish_for(engine, steps=[*STEPS, ImportStep.LAKE])
    list_history(strava, engine)
    fill(strava, engine, MAY, JUNE)
    assert lacks(engine, asked).months == (JUNE, MAY)
    with engine.begin() as connection:
        for first in (MAY, JUNE):
            note_in_lake(connection, month(first), now(connection))
    assert lacks(engine, asked).nothing
    strava.edit(1, elapsed_time=150)
    list_history(strava, engine)
    fill(strava, engine, MAY)
    assert lacks(engine, asked).months == (MAY,)


def test_an_edit_at_strava_lacks_once_it_is_listed(strava: StravaStandIn, engine: Engine) -> None:
    asked = wish_for(engine)
    list_history(strava, engine)
    fill(strava, engine, MAY, JUNE)
    strava.edit(1, name="Another title")
    assert lacks(engine, asked).nothing
    list_history(strava, engine)
    assert lacks(engine, asked).months == (MAY,)
    strava.delete(1)
    list_history(strava, engine)
    assert lacks(engine, asked).nothing


def test_a_detail_of_after_the_listing_lacks_nothing_until_the_next(strava: StravaStandIn, engine: Engine) -> None:
    asked = wish_for(engine)
    list_history(strava, engine)
    name = strava.activities[1]["name"]
    strava.edit(1, name="Another title")
    fill(strava, engine, MAY, JUNE)
    assert lacks(engine, asked).nothing
    strava.edit(1, name=name)
    list_history(strava, engine)
    assert lacks(engine, asked).months == (MAY,)
    fill(strava, engine, MAY)
    assert lacks(engine, asked).nothing


def test_what_is_put_aside_lacks_once_it_is_due_again(strava: StravaStandIn, engine: Engine) -> None:
    asked = wish_for(engine)
    list_history(strava, engine)
    strava.faults["/activities/1"] = [RejectedRequest("activity 1 does not map")]
    fill(strava, engine, MAY, JUNE)
    found = lacks(engine, asked)
    assert (found.nothing, found.later) == (True, 1)
    with engine.connect() as connection:
        assert found.next_at is not None
        assert timedelta(hours=23) < found.next_at - now(connection) <= timedelta(days=1)
    with engine.begin() as connection:
        connection.execute(update(put_aside).values(retry_at=LONG_AGO))
    found = lacks(engine, asked)
    assert (found.months, found.later, found.next_at) == ((MAY,), 0, None)


def test_an_activity_that_was_listed_but_not_stored_is_listed_again(strava: StravaStandIn, engine: Engine) -> None:
    asked = wish_for(engine)
    strava.edit(1, distance="far")
    list_history(strava, engine)
    fill(strava, engine, MAY, JUNE)
    assert lacks(engine, asked).nothing
    with engine.begin() as connection:
        connection.execute(update(put_aside).values(retry_at=LONG_AGO))
    listing = lacks(engine, asked).listing
    assert listing is not None
    assert listing.start.date() == MAY


def test_a_failed_month_lacks_once_it_is_due_again(strava: StravaStandIn, engine: Engine) -> None:
    asked = wish_for(engine)
    list_history(strava, engine)
    fill(strava, engine, MAY)
    import_streams(strava.sync(engine), month(JUNE))
    analyse_span(engine, month(JUNE))
    with engine.begin() as connection:
        note_failed(connection, month(JUNE), ImportStep.DETAIL, "odd")
    found = lacks(engine, asked)
    assert (found.nothing, found.failed) == (True, 1)
    assert found.next_at is not None
    with engine.begin() as connection:
        connection.execute(update(failed_months).values(retry_at=LONG_AGO))
    assert lacks(engine, asked).months == (JUNE,)


def test_a_month_whose_listing_failed_is_listed_alone(strava: StravaStandIn, engine: Engine) -> None:
    asked = wish_for(engine)
    list_history(strava, engine)
    fill(strava, engine, MAY, JUNE)
    with engine.begin() as connection:
        note_failed(connection, month(MAY), ImportStep.SUMMARY, "odd")
    assert lacks(engine, asked).nothing
    with engine.begin() as connection:
        connection.execute(update(failed_months).values(retry_at=LONG_AGO))
    assert lacks(engine, asked).listing == month(MAY)


def test_a_history_is_listed_whole_whatever_month_of_it_failed(strava: StravaStandIn, engine: Engine) -> None:
    asked = wish_for(engine)
    whole = lacks(engine, asked).listing
    assert whole is not None
    with engine.begin() as connection:
        note_failed(connection, month(add_months(whole.end.date(), -1)), ImportStep.SUMMARY, "odd")
    assert lacks(engine, asked).listing == whole


def test_an_activity_that_is_listed_no_more_is_listed_for_once_and_then_rests(
    strava: StravaStandIn, engine: Engine
) -> None:
    """It was put aside by a listing of more months than this import has."""
    asked = wish_for(engine, MAY, MAY, by=MadeBy.COMMAND)
    strava.edit(1, distance="far")
    assert list(import_summaries(strava.sync(engine), [month(JUNE), month(MAY)]))
    fill(strava, engine, MAY)
    strava.delete(1)
    with engine.begin() as connection:
        connection.execute(update(put_aside).values(retry_at=LONG_AGO))
    assert lacks(engine, asked).listing == month(MAY)
    assert list(import_months(strava.sync(engine), [month(MAY)]))
    found = lacks(engine, asked)
    assert (found.listing, found.months) == (None, ())
    with engine.connect() as connection:
        again = connection.execute(select(put_aside.c.tries, put_aside.c.retry_at)).one()
        assert again.tries == 2
        assert again.retry_at > now(connection) + timedelta(days=6)


def test_a_bounded_wish_lists_its_months_and_no_others(strava: StravaStandIn, engine: Engine) -> None:
    strava.add(4, day(1, JULY))
    asked = wish_for(engine, MAY, JUNE, by=MadeBy.COMMAND)
    listing = lacks(engine, asked).listing
    assert listing is not None
    assert (listing.start, listing.end) == (month(MAY).start, month(JUNE).end)
    assert list(import_summaries(strava.sync(engine), [month(JULY), month(JUNE)]))
    assert lacks(engine, asked).listing == month(MAY)
    assert list(import_summaries(strava.sync(engine), [month(MAY)]))
    assert lacks(engine, asked).listing is None
    assert lacks(engine, asked).months == (JUNE, MAY)


def test_months_before_the_beginning_of_a_history_lack_no_listing(strava: StravaStandIn, engine: Engine) -> None:
    asked = wish_for(engine, date(2010, 1, 1), JUNE, by=MadeBy.COMMAND)
    list_history(strava, engine)
    assert lacks(engine, asked).listing is None
    nobody = wish_for(engine, date(2010, 1, 1), MAY, by=MadeBy.COMMAND)
    with engine.begin() as connection:
        note_history(connection, RIDER, None, now(connection))
    assert lacks(engine, nobody).listing is None


def test_nothing_is_imported_before_the_earliest_month(strava: StravaStandIn, engine: Engine) -> None:
    asked = wish_for(engine)
    list_history(strava, engine)
    assert lacks(engine, asked, JUNE).months == (JUNE,)
    past = wish_for(engine, MAY, MAY, by=MadeBy.COMMAND)
    assert lacks(engine, past, JUNE).nothing


def list_from(engine: Engine, first: date) -> None:
    """A whole history, which begins in May, is listed from this month on."""
    with engine.begin() as connection:
        note_history(connection, RIDER, MAY, now(connection), first)


def test_months_that_are_kept_from_now_on_are_listed(engine: Engine) -> None:
    asked = wish_for(engine)
    list_from(engine, MAY)
    assert lacks(engine, asked, MAY).listing is None
    assert lacks(engine, asked, JUNE).listing is None
    april = date(2025, 4, 1)
    found = lacks(engine, asked, april).listing
    assert found is not None
    assert found.start.date() == april
    list_from(engine, april)
    assert lacks(engine, asked, april).listing is None


def test_of_months_that_were_asked_for_those_are_listed_that_are_kept_from_now_on(engine: Engine) -> None:
    asked = wish_for(engine, date(2025, 1, 1), MAY, by=MadeBy.COMMAND)
    list_from(engine, MAY)
    with engine.begin() as connection:
        note_listed(connection, month(MAY), now(connection))
    assert lacks(engine, asked, MAY).listing is None
    found = lacks(engine, asked, date(2025, 3, 1)).listing
    assert found == Span(RIDER, month(date(2025, 3, 1)).start, month(MAY).start)


def test_months_whose_activities_were_removed_are_listed_once_they_are_kept_again(
    strava: StravaStandIn, engine: Engine
) -> None:
    asked, past = wish_for(engine), wish_for(engine, MAY, JUNE, by=MadeBy.COMMAND)
    list_history(strava, engine)
    list_from(engine, MAY)
    assert (lacks(engine, asked, MAY).listing, lacks(engine, past, MAY).listing) == (None, None)
    remove_activities_before(engine, day(3))
    assert (lacks(engine, asked, JUNE).listing, lacks(engine, past, JUNE).listing) == (None, None)
    found = lacks(engine, asked, MAY).listing
    assert found is not None
    assert found.start.date() == MAY
    assert lacks(engine, past, MAY).listing == month(MAY)


def test_a_wish_asks_only_for_its_own_athlete(strava: StravaStandIn, engine: Engine) -> None:
    connect_riders(engine, 2002)
    list_history(strava, engine)
    asked = wish_for(engine, athlete_id=2002)
    assert lacks(engine, asked).months == ()
    change(engine, asked, made_at=LONG_AGO)
    assert lacks(engine, asked).listing is not None
