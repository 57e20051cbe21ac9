"""The whole history compared with one listing: what differs is written; a listing that lacks much deletes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, update

from strava_pipeline.errors import RetriableStravaError, WarehouseError
from strava_pipeline.keyring import Keyring
from strava_pipeline.months import Span, add_months, month_span, month_start
from strava_pipeline.secret import Secret
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.sync.athlete import import_athlete
from strava_pipeline.sync.backfill import import_details, import_streams
from strava_pipeline.sync.context import SpanResult
from strava_pipeline.sync.history import compare_history, import_history, import_months
from strava_pipeline.sync.recent import compare_recent
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports.edited_months import import_edited
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.payload_tables import tombstones
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.schema.wish_tables import histories, imports
from strava_pipeline.warehouse.states import ImportStep, MadeBy
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore
from strava_pipeline_tests.inbox import LONG_AGO, bring_up_to_date, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed
from strava_pipeline_tests.wishes import change, lacks, wish, wish_for

LISTING = "/athlete/activities"
FLOOR = date(2008, 1, 1)
THIS_MONTH = month_start(datetime.now(UTC).date())
WHOLE = Span(RIDER, month_start(FLOOR), add_months(THIS_MONTH, 1))
RIDES, EVERY = 12, 2


def months_ago(count: int) -> datetime:
    """The second day of an earlier month."""
    return add_months(THIS_MONTH, -count) + timedelta(days=1, hours=8)


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    """A ride every second month of two years, the newest first, all stored with details and streams."""
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    for number in range(1, RIDES + 1):
        strava.add(number, months_ago(EVERY * number))
    for month in import_history(strava.sync(engine), WHOLE):
        assert isinstance(month, SpanResult)
    import_details(strava.sync(engine), WHOLE)
    import_streams(strava.sync(engine), WHOLE)
    strava.new_requests()
    return strava


def compare(strava: StravaStandIn, engine: Engine, floor: date = FLOOR) -> dict[date, tuple[int, int]]:
    """Months in which something was written or deleted, with how much."""
    found = {}
    for month in compare_history(strava.sync(engine), RIDER, floor):
        assert isinstance(month, SpanResult)
        if month.stored or month.deleted:
            found[month.span.start.date()] = month.stored, month.deleted
    return found


def stored(engine: Engine) -> dict[int, str]:
    with engine.connect() as connection:
        return {row.id: row.name for row in connection.execute(select(activities.c.id, activities.c.name))}


def held(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return connection.execute(select(histories.c.held)).scalar()


def grant(engine: Engine, *scopes: str) -> None:
    with engine.begin() as connection:
        connection.execute(update(users).values(scopes=list(scopes)))


def reconnection(number: int) -> TokenGrant:
    """What Strava answers when the athlete connects for this time."""
    expires_at = datetime.now(UTC) + timedelta(hours=6)
    return TokenGrant(Secret(f"access-{number}"), Secret(f"refresh-{number}"), expires_at, {"id": RIDER})


def month_of(number: int) -> date:
    return months_ago(EVERY * number).replace(day=1).date()


def test_an_unchanged_history_costs_one_listing_and_writes_nothing(strava: StravaStandIn, engine: Engine) -> None:
    for number in range(100, 600):
        strava.add(number, months_ago(3) + timedelta(minutes=number))
    compare(strava, engine)
    strava.new_requests()
    with engine.connect() as connection:
        before = connection.execute(select(activities.c.id, activities.c.fetched_at)).all()
    assert compare(strava, engine) == {}
    # Pages overlap by one activity.
    assert strava.new_requests() == [LISTING] * 3
    with engine.connect() as connection:
        assert connection.execute(select(activities.c.id, activities.c.fetched_at)).all() == before


def test_edits_crops_deletions_and_late_uploads_of_ten_years_are_found(strava: StravaStandIn, engine: Engine) -> None:
    strava.edit(6, name="Renamed")
    strava.edit(9, elapsed_time=100)
    strava.delete(12)
    strava.add(99, months_ago(120))
    assert compare(strava, engine) == {
        month_of(6): (1, 0),
        month_of(9): (1, 0),
        month_of(12): (0, 1),
        months_ago(120).replace(day=1).date(): (1, 0),
    }
    found = stored(engine)
    assert (found[6], found[99], 12 in found) == ("Renamed", "Ride 99", False)
    with engine.connect() as connection:
        with_streams = set(connection.execute(select(activity_streams.c.activity_id)).scalars())
        assert connection.execute(select(tombstones.c.activity_id)).scalars().all() == [12]
        assert connection.execute(select(histories.c.begins_on)).scalar() == months_ago(120).replace(day=1).date()
    assert not {9, 12} & with_streams
    import_details(strava.sync(engine), WHOLE)
    assert compare(strava, engine) == {}


def test_a_month_of_many_deletions_among_more_that_stay_is_believed(strava: StravaStandIn, engine: Engine) -> None:
    for number in range(100, 111):
        strava.add(number, months_ago(3) + timedelta(minutes=number))
    compare(strava, engine)
    for number in range(100, 111):
        strava.delete(number)
    assert compare(strava, engine) == {months_ago(3).replace(day=1).date(): (0, 11)}
    assert held(engine) is None


def test_a_listing_that_lacks_most_deletes_nothing_however_few_a_month_has(
    strava: StravaStandIn, engine: Engine
) -> None:
    gone = {number: strava.activities.pop(number) for number in range(5, RIDES + 1)}
    strava.edit(1, name="Renamed")
    strava.add(99, months_ago(1))
    assert compare(strava, engine) == {month_of(1): (1, 0), months_ago(1).replace(day=1).date(): (1, 0)}
    assert held(engine) == "Strava lists only 4 of 12 stored activities: nothing was deleted"
    assert set(stored(engine)) == {*range(1, RIDES + 1), 99}
    strava.activities |= gone
    import_details(strava.sync(engine), WHOLE)
    strava.delete(2)
    assert compare(strava, engine) == {month_of(2): (0, 1)}
    assert held(engine) is None


def test_what_an_athlete_shows_no_more_is_not_deleted_now_nor_the_next_time(
    strava: StravaStandIn, engine: Engine
) -> None:
    hidden = strava.activities.pop(7)
    grant(engine, "read", "activity:read")
    for _ in range(2):
        assert compare(strava, engine) == {}
        assert held(engine) == (
            "Strava lists only 11 of 12 stored activities, and the athlete shows fewer than before: nothing was deleted"
        )
    grant(engine, "read", "activity:read_all")
    strava.activities[7] = hidden
    strava.delete(8)
    assert compare(strava, engine) == {month_of(8): (0, 1)}
    assert held(engine) is None


def test_no_event_tells_of_a_deletion_while_an_athlete_shows_less(strava: StravaStandIn, engine: Engine) -> None:
    strava.add(99, datetime.now(UTC) - timedelta(days=1))
    bring_up_to_date(strava.sync(engine), RIDER, 99)
    strava.delete(99)
    grant(engine, "read", "activity:read")
    assert compare_recent(strava.sync(engine), RIDER, 1) == {}
    grant(engine, "read", "activity:read_all")
    assert compare_recent(strava.sync(engine), RIDER, 1) == {"delete": 1}
    with engine.connect() as connection:
        assert connection.execute(select(webhook_events.c.object_id)).scalars().all() == [99]


def lose_most(strava: StravaStandIn, _: Engine) -> None:
    for number in range(5, RIDES + 1):
        strava.delete(number)


def hide_one(strava: StravaStandIn, engine: Engine) -> None:
    strava.delete(7)
    grant(engine, "read", "activity:read")


@pytest.mark.parametrize("lose", [lose_most, hide_one])
def test_a_persons_run_is_refused_then_and_an_imports_run_holds_back(
    strava: StravaStandIn, engine: Engine, lose: Callable[[StravaStandIn, Engine], None]
) -> None:
    lose(strava, engine)
    years = [month_span(RIDER, add_months(THIS_MONTH, -back)) for back in range(EVERY * RIDES + 1)]
    with pytest.raises(WarehouseError, match="nothing was deleted; if that is right, run again with allow_mass_delete"):
        import_listed(strava.sync(engine), years)
    assert len(stored(engine)) == RIDES
    for _ in import_months(strava.sync(engine), years):
        pass
    assert len(stored(engine)) == RIDES
    assert held(engine) is not None
    import_listed(strava.sync(engine), years, allow_mass_delete=True)
    assert set(stored(engine)) == set(strava.activities)
    assert compare(strava, engine) == {}
    assert held(engine) is None


def test_months_that_no_import_has_reached_get_no_activity_but_what_is_stored_of_them_is_kept_true(
    engine: Engine,
) -> None:
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    for number, back in ((1, 2), (2, 2), (3, 5), (4, 5), (5, 9), (6, 20), (7, 5)):
        strava.add(number, months_ago(back))
    import_listed(strava.sync(engine), [month_span(RIDER, add_months(THIS_MONTH, -5))])
    for number in (1, 5):
        bring_up_to_date(strava.sync(engine), RIDER, number)
    strava.delete(4)
    strava.edit(1, name="Renamed")
    strava.delete(5)
    strava.add(8, months_ago(5))
    strava.new_requests()
    assert compare(strava, engine) == {
        months_ago(2).replace(day=1).date(): (1, 0),
        months_ago(5).replace(day=1).date(): (1, 1),
        months_ago(9).replace(day=1).date(): (0, 1),
    }
    assert strava.new_requests() == [LISTING]
    assert stored(engine) == {1: "Renamed", 3: "Ride 3", 7: "Ride 7", 8: "Ride 8"}
    import_details(strava.sync(engine), WHOLE)
    assert compare(strava, engine) == {}


def test_an_activity_that_moved_to_a_month_that_no_import_has_reached_moves_along(engine: Engine) -> None:
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    for number in (1, 2):
        strava.add(number, months_ago(5))
    import_listed(strava.sync(engine), [month_span(RIDER, add_months(THIS_MONTH, -5))])
    strava.edit(1, start_date=f"{months_ago(2):%Y-%m-%dT%H:%M:%SZ}")
    compare(strava, engine)
    with engine.connect() as connection:
        starts = {
            row.id: row.start_date for row in connection.execute(select(activities.c.id, activities.c.start_date))
        }
    assert starts == {1: months_ago(2), 2: months_ago(5)}


def test_of_an_athlete_with_nothing_imported_nothing_is_asked_for(engine: Engine) -> None:
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    strava.add(1, months_ago(1))
    assert compare(strava, engine) == {}
    assert strava.asked == []


def test_a_listing_that_ends_early_changes_nothing(strava: StravaStandIn, engine: Engine) -> None:
    for number in range(100, 400):
        strava.add(number, months_ago(3) + timedelta(minutes=number))
    compare(strava, engine)
    for number in range(100, 400):
        strava.edit(number, name="Renamed")
    strava.delete(12)
    strava.faults[LISTING] = [RetriableStravaError("no connection")]
    with pytest.raises(RetriableStravaError):
        compare(strava, engine)
    assert 12 in stored(engine)
    assert "Renamed" not in stored(engine).values()
    compare(strava, engine)
    assert 12 not in stored(engine)


def test_older_than_what_is_kept_nothing_is_listed_or_touched(strava: StravaStandIn, engine: Engine) -> None:
    floor = month_of(6)
    strava.delete(10)
    strava.delete(5)
    assert compare(strava, engine, floor) == {month_of(5): (0, 1)}
    assert 10 in stored(engine)


@pytest.mark.usefixtures("strava")
def test_once_earlier_months_are_kept_an_import_lists_them(engine: Engine) -> None:
    asked = wish_for(engine)
    change(engine, made_at=LONG_AGO)
    assert lacks(engine, asked, FLOOR).listing is None
    earlier = lacks(engine, asked, add_months(FLOOR, -12)).listing
    assert earlier is not None
    assert earlier.start.date() == add_months(FLOOR, -12)


def test_what_edited_months_lack_is_imported(strava: StravaStandIn, engine: Engine) -> None:
    covering = wish_for(engine, month_of(6), month_of(3))
    change(engine, next_at=datetime.now(UTC) + timedelta(days=1), made_at=LONG_AGO)
    with engine.begin() as connection:
        import_edited(connection, RIDER, [month_of(10), month_of(8), month_of(4)])
    with engine.connect() as connection:
        found = connection.execute(select(imports).order_by(imports.c.id)).all()
        moment = connection.execute(select(func.max(imports.c.next_at))).scalar()
        assert moment is not None
        assert moment <= now(connection)
    basic = [ImportStep.DETAIL, ImportStep.STREAMS, ImportStep.FIGURES]
    assert [(row.first_month, row.last_month, row.steps) for row in found if row.id != covering] == [
        (month_of(10), month_of(10), basic),
        (month_of(8), month_of(8), basic),
    ]
    assert {row.made_by for row in found} == {"connect", "upkeep"}
    with engine.begin() as connection:
        import_edited(connection, RIDER, [month_of(10)])
        assert connection.execute(select(func.count()).select_from(imports)).scalar() == 3


def test_of_an_edited_month_no_more_is_imported_than_was_asked_for(engine: Engine) -> None:
    listed = wish_for(engine, month_of(RIDES), month_of(1), steps=[ImportStep.SUMMARY])
    with engine.begin() as connection:
        import_edited(connection, RIDER, [month_of(5), month_of(4)])
        assert connection.execute(select(imports.c.id)).scalars().all() == [listed]


def test_what_nobody_asked_for_does_not_limit_what_an_edited_month_gets(strava: StravaStandIn, engine: Engine) -> None:
    rest = wish_for(engine, month_of(5), month_of(5), steps=[ImportStep.FIGURES], by=MadeBy.RUN)
    with engine.begin() as connection:
        import_edited(connection, RIDER, [month_of(5)])
    assert set(wish(engine, rest).steps) == {ImportStep.DETAIL, ImportStep.STREAMS, ImportStep.FIGURES}


def test_what_webhooks_brought_is_not_deleted_either_once_an_athlete_shows_less(
    engine: Engine, keyring: Keyring
) -> None:
    store = PostgresTokenStore(engine, keyring)
    store.connect(reconnection(1), ["read", "activity:read_all"])
    strava = StravaStandIn()
    for number in (1, 2, 3):
        strava.add(number, months_ago(1) + timedelta(days=number), private=number == 1)
        bring_up_to_date(strava.sync(engine), RIDER, number)
    # Fetching the profile notes that much, and no listing.
    import_athlete(strava.sync(engine), RIDER)
    for number in (2, 3):
        store.connect(reconnection(number), ["read", "activity:read"])
    strava.delete(1)
    assert [deleted for _, deleted in compare(strava, engine).values() if deleted] == []
    assert set(stored(engine)) == {1, 2, 3}


@pytest.mark.parametrize("listed_by", [import_listed, import_months])
def test_any_listing_notes_what_the_athlete_shows(engine: Engine, listed_by: Callable[..., Any]) -> None:
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    for number in (1, 2, 3):
        strava.add(number, months_ago(1) + timedelta(days=number))
    list(listed_by(strava.sync(engine), [month_span(RIDER, months_ago(1))]) or ())
    strava.delete(1)
    grant(engine, "read", "activity:read")
    assert compare(strava, engine) == {}
    assert set(stored(engine)) == {1, 2, 3}


def test_who_accepts_a_mass_deletion_accepts_what_the_athlete_shows_now(strava: StravaStandIn, engine: Engine) -> None:
    hide_one(strava, engine)
    assert compare(strava, engine) == {}
    assert held(engine) is not None
    import_listed(strava.sync(engine), [month_span(RIDER, months_ago(EVERY * 7))], allow_mass_delete=True)
    assert held(engine) is None
    strava.delete(8)
    assert compare(strava, engine) == {month_of(8): (0, 1)}
