"""Imports: newest month first, one listing for the rest, every month whole before an older one, nothing asked twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select, text, update

from strava_pipeline.errors import (
    AppInactive,
    ImportStopped,
    NeedsReauthorization,
    QuotaExhausted,
    RejectedRequest,
    RetriableStravaError,
)
from strava_pipeline.months import Span, month_span
from strava_pipeline.strava.mapping.activity import DetailRows
from strava_pipeline.sync import imports as importing
from strava_pipeline.sync.backfill import ATTEMPTS, analyse_span
from strava_pipeline.sync.context import SpanResult
from strava_pipeline.sync.imports import ImportHooks, work_on_import
from strava_pipeline.sync.months_at_work import MonthsFailed
from strava_pipeline.warehouse.activities import activity_store
from strava_pipeline.warehouse.activities.lake_months import note_in_lake
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports import runs
from strava_pipeline.warehouse.imports.runs import Outcome
from strava_pipeline.warehouse.imports.wishes import pause
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.import_tables import failed_months, import_months
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.schema.wish_tables import histories
from strava_pipeline.warehouse.states import ImportStep, MadeBy, PausedBy
from strava_pipeline_tests.inbox import LONG_AGO, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn
from strava_pipeline_tests.wishes import STEPS, change, lacks, launch, wish, wish_for

LISTING = "/athlete/activities"
FLOOR = date(2015, 1, 1)


@pytest.fixture(autouse=True)
def rider(engine: Engine) -> None:
    connect_riders(engine, RIDER)


def today() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def months_ago(count: int) -> datetime:
    """The second day of an earlier month, or of this one."""
    moment = today().replace(day=2, hour=8)
    for _ in range(count):
        moment = (moment.replace(day=1) - timedelta(days=1)).replace(day=2, hour=8)
    return moment


@pytest.fixture
def strava() -> StravaStandIn:
    """Strava with a ride of last month, and three older ones in two months of different years."""
    strava = StravaStandIn()
    for number, back in ((4, 1), (3, 8), (2, 30), (1, 30)):
        strava.add(number, months_ago(back) + timedelta(days=number))
    return strava


class Months:
    """What a run shows of its months."""

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine
        self.begun: list[ImportStep] = []
        self.shown: list[tuple[str, str]] = []

    def done(self, step: ImportStep, result: SpanResult) -> None:
        self.shown.append((step, result.span.months))

    def write_lake(self, span: Span) -> SpanResult:
        assert self.engine is not None
        with self.engine.begin() as connection:
            note_in_lake(connection, span, now(connection))
        return SpanResult(span, stored=1)

    @property
    def hooks(self) -> ImportHooks:
        return ImportHooks(self.begun.append, self.done, self.write_lake)


def run_once(strava: StravaStandIn, engine: Engine, months: Months | None = None) -> Outcome | None:
    """Launch what is due and do its task; ``None`` if nothing is."""
    found = launch(engine, FLOOR)
    if found is None:
        return None
    task = runs.begin(engine, found, f"run-{found.launch_no}", FLOOR)
    assert task is not None
    return work_on_import(strava.sync(engine), task, FLOOR, (months or Months()).hooks)


def run_all(strava: StravaStandIn, engine: Engine, months: Months | None = None) -> int:
    """Run until nothing is due; returns how many runs that took."""
    number = 0
    while run_once(strava, engine, months) is not None:
        number += 1
        assert number < 20
    return number


def in_order(strava: StravaStandIn) -> list[int]:
    """The activities in the order in which their details were asked for."""
    return [
        int(path.split("/")[2]) for path in strava.asked if path.startswith("/activities/") and path.count("/") == 2
    ]


def test_the_newest_month_comes_before_anything_older(strava: StravaStandIn, engine: Engine) -> None:
    import_id = wish_for(engine, profile=True)
    assert run_once(strava, engine) == Outcome(progressed=True, newest_is_done=True)
    assert strava.new_requests() == [
        "/athlete", f"/athletes/{RIDER}/stats", "/athlete/zones", LISTING, "/activities/4", "/activities/4/streams",
    ]  # fmt: skip
    assert not wish(engine, import_id).begins_newest
    assert run_all(strava, engine) == 3
    assert in_order(strava) == [3, 2, 1]
    assert Counter(strava.asked)[LISTING] == 1
    assert wish(engine, import_id).whole_at is not None
    assert lacks(engine, import_id, FLOOR).nothing


def test_an_athlete_without_activities_is_complete_after_two_listings(engine: Engine) -> None:
    strava = StravaStandIn()
    import_id = wish_for(engine)
    assert run_all(strava, engine) == 2
    assert strava.asked == [LISTING] * 2
    assert wish(engine, import_id).whole_at is not None
    with engine.connect() as connection:
        assert connection.execute(select(histories.c.begins_on)).scalar_one() is None


def test_a_listing_tells_where_the_history_begins(strava: StravaStandIn, engine: Engine) -> None:
    wish_for(engine)
    run_all(strava, engine)
    with engine.connect() as connection:
        assert connection.execute(select(histories.c.begins_on, histories.c.scopes)).one() == (
            months_ago(30).date().replace(day=1),
            ["read", "activity:read_all"],
        )
        listed = connection.execute(select(import_months.c.month)).scalars().all()
    assert len(listed) == 31
    assert min(listed) == months_ago(30).date().replace(day=1)


def test_each_month_is_whole_before_an_older_one_is_begun(strava: StravaStandIn, engine: Engine) -> None:
    wish_for(engine, steps=[*STEPS, ImportStep.LAKE])
    months = Months(engine)
    run_all(strava, engine, months)
    filled = [(step, month) for step, month in months.shown if step != ImportStep.SUMMARY]
    assert [step for step, _ in filled[:4]] == ["detail", "streams", "figures", "lake"]
    order = [month for step, month in filled if step == "detail"]
    assert order == sorted(order, reverse=True)
    assert len(filled) == 4 * len(order)


@pytest.mark.parametrize(("day", "newest"), [(1, 1), (20, 2)])
def test_on_the_first_of_a_month_the_one_before_is_the_newest(
    engine: Engine, owner_engine: Engine, day: int, newest: int
) -> None:
    move_clock(owner_engine, datetime(2026, 6, day, 0, 10, tzinfo=UTC))
    strava = StravaStandIn()
    strava.add(1, datetime(2026, 5, 30, 8, tzinfo=UTC))
    if day > 1:
        strava.add(2, datetime(2026, 6, 3, 8, tzinfo=UTC))
    wish_for(engine)
    run_once(strava, engine)
    assert in_order(strava) == [newest]


def move_clock(owner_engine: Engine, moment: datetime) -> None:
    """Let the time of this test's database be another one, and go on from there."""
    ahead = moment - datetime.now(UTC)
    body = f"SELECT pg_catalog.clock_timestamp() + interval '{ahead.total_seconds()} s'"
    with owner_engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE OR REPLACE FUNCTION ops.clock() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE"
            f" AS $${body}$$"
        )


@pytest.mark.parametrize("place", range(1, 14))
def test_a_run_that_dies_repeats_no_request_for_what_is_stored(
    strava: StravaStandIn, engine: Engine, place: int
) -> None:
    """It dies with its request number ``place``: nothing more is written, not even that it has ended."""
    import_id = wish_for(engine, profile=True)
    real = strava.get

    def dies(*args: Any, **more: Any) -> Any:
        if len(strava.asked) == place - 1:
            raise SystemExit
        return real(*args, **more)

    strava.get = dies  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        run_all(strava, engine)
    strava.get = real  # type: ignore[method-assign]
    assert wish(engine, import_id).state == "running"
    change(engine, state="due", lease_until=None, next_at=LONG_AGO)
    run_all(strava, engine)
    assert lacks(engine, import_id, FLOOR).nothing
    twice = {path for path, times in Counter(strava.asked).items() if times > 1}
    # A listing and a profile are stored as a whole, or not at all.
    assert twice <= {LISTING, "/athlete", f"/athletes/{RIDER}/stats", "/athlete/zones"}
    assert Counter(strava.asked)[LISTING] <= 3


def test_a_month_that_fails_is_left_out_and_the_others_are_imported(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_id = wish_for(engine)
    real: Callable[[Engine, Span], SpanResult] = analyse_span
    odd = month_span(RIDER, months_ago(8).replace(day=1, hour=0))

    def fails(engine: Engine, span: Span) -> SpanResult:
        if span == odd:
            raise ZeroDivisionError
        return real(engine, span)

    monkeypatch.setattr(importing, "analyse_span", fails)
    with pytest.raises(MonthsFailed, match="ZeroDivisionError"):
        run_all(strava, engine)
    run_all(strava, engine)
    stored = wish(engine, import_id)
    assert (stored.whole_at, stored.attempts) == (None, 0)
    found = lacks(engine, import_id, FLOOR)
    assert (found.nothing, found.failed) == (True, 1)
    assert in_order(strava) == [4, 3, 2, 1]
    monkeypatch.setattr(importing, "analyse_span", real)
    with engine.begin() as connection:
        connection.execute(update(failed_months).values(retry_at=LONG_AGO))
    change(engine, next_at=LONG_AGO)
    run_all(strava, engine)
    assert wish(engine, import_id).whole_at is not None


@pytest.mark.parametrize(
    ("error", "is_counted"),
    [
        (QuotaExhausted("used up", retry_at=datetime.now(UTC) + timedelta(days=1)), False),
        (AppInactive("off"), False),
    ],
)
def test_what_passes_by_itself_is_waited_for_and_not_counted(
    strava: StravaStandIn, engine: Engine, error: Exception, is_counted: bool
) -> None:
    import_id = wish_for(engine)
    strava.faults[LISTING] = [error]
    outcome = run_once(strava, engine)
    assert outcome is not None
    stored = wish(engine, import_id)
    assert (stored.attempts == 1) is is_counted
    assert (stored.error, stored.next_at) == (str(error), outcome.retry_at)
    assert launch(engine, FLOOR) is None


def test_an_error_ends_the_run_and_the_import_stays_due(strava: StravaStandIn, engine: Engine) -> None:
    import_id = wish_for(engine)
    strava.faults[LISTING] = [RetriableStravaError("no answer for a day")]
    with pytest.raises(RetriableStravaError):
        run_once(strava, engine)
    stored = wish(engine, import_id)
    assert (stored.state, stored.attempts, stored.error) == ("due", 1, "no answer for a day")


def test_a_fault_of_this_program_is_raised_and_its_text_is_not_stored(strava: StravaStandIn, engine: Engine) -> None:
    import_id = wish_for(engine)
    strava.faults[LISTING] = [ValueError("52.1, 4.2")]
    with pytest.raises(ValueError, match=r"52\.1"):
        run_once(strava, engine)
    assert wish(engine, import_id).error == "ValueError"


def test_an_athlete_who_must_connect_again_is_not_counted(strava: StravaStandIn, engine: Engine) -> None:
    import_id = wish_for(engine)

    def revoked(*_: Any, **__: Any) -> Any:
        with engine.begin() as connection:
            connection.execute(update(users).values(state="needs_reauth"))
        raise NeedsReauthorization("the grant has ended")

    strava.get = revoked  # type: ignore[method-assign]
    with pytest.raises(NeedsReauthorization):
        run_once(strava, engine)
    stored = wish(engine, import_id)
    assert (stored.attempts, stored.error) == (0, "the grant has ended")
    assert launch(engine, FLOOR) is None


def test_a_pause_ends_the_run_before_its_next_activity(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "LOOK_EVERY_SECONDS", 0)
    import_id = wish_for(engine)
    run_once(strava, engine)
    run_once(strava, engine)
    real = strava.get

    def pausing(*args: Any, **more: Any) -> Any:
        if args[1] == "/activities/2":
            with engine.begin() as connection:
                pause(connection, RIDER, PausedBy.OPERATOR)
        return real(*args, **more)

    strava.get = pausing  # type: ignore[method-assign]
    strava.new_requests()
    with pytest.raises(ImportStopped, match="paused"):
        run_all(strava, engine)
    assert in_order(strava)[-1] == 2
    stored = wish(engine, import_id)
    assert (stored.state, stored.paused_by, stored.attempts) == ("due", "operator", 0)
    change(engine, paused_at=None, paused_by=None)
    run_all(strava, engine)
    assert in_order(strava) == [3, 2, 1]


def test_a_bounded_import_brings_its_months_and_no_others(strava: StravaStandIn, engine: Engine) -> None:
    first, last = months_ago(30).date().replace(day=1), months_ago(8).date().replace(day=1)
    wish_for(engine, first, last, by=MadeBy.COMMAND)
    run_all(strava, engine)
    assert in_order(strava) == [3, 2, 1]
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(listed_at) FROM ops.histories")).scalar_one() == 0


def test_activities_that_went_before_the_history_begins_are_deleted(strava: StravaStandIn, engine: Engine) -> None:
    wish_for(engine)
    run_all(strava, engine)
    strava.delete(1)
    strava.delete(2)
    wish_for(engine)
    run_all(strava, engine)
    with engine.connect() as connection:
        assert set(connection.execute(select(activities.c.id)).scalars()) == {3, 4}
        assert connection.execute(select(histories.c.begins_on)).scalar_one() == months_ago(8).date().replace(day=1)


def test_an_activity_that_does_not_map_stops_nothing(strava: StravaStandIn, engine: Engine) -> None:
    import_id = wish_for(engine)
    strava.faults["/activities/3"] = [RejectedRequest("activity 3 does not map")]
    run_all(strava, engine)
    found = lacks(engine, import_id, FLOOR)
    assert (found.nothing, found.later) == (True, 1)
    assert in_order(strava) == [4, 3, 2, 1]
    assert wish(engine, import_id).whole_at is not None


def test_an_overtaken_run_does_not_end_the_other(strava: StravaStandIn, engine: Engine) -> None:
    import_id = wish_for(engine)
    found = launch(engine, FLOOR)
    assert found is not None
    task = runs.begin(engine, found, "a run", FLOOR)
    assert task is not None
    change(engine, launch_no=2)
    with pytest.raises(ImportStopped, match="another run has it"):
        work_on_import(strava.sync(engine), task, FLOOR, Months().hooks)
    assert wish(engine, import_id).state == "running"


def without_pause(engine: Engine, import_id: int) -> timedelta:
    """How long from now on an import rests."""
    with engine.connect() as connection:
        return wish(engine, import_id).next_at - now(connection)


def test_an_answer_that_is_refused_is_put_aside_and_no_progress(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer change is known after each answer: nothing of three activities is ever stored."""
    import_id = wish_for(engine, steps=[ImportStep.SUMMARY, ImportStep.DETAIL])
    for _ in range(2):
        run_once(strava, engine)
    store_detail = activity_store.store_detail

    def refuse(connection: Connection, rows: DetailRows, *more: Any) -> Any:
        return None if rows.activity["id"] in {1, 2, 3} else store_detail(connection, rows, *more)

    monkeypatch.setattr(activity_store, "store_detail", refuse)
    run_once(strava, engine)
    stored = wish(engine, import_id)
    assert (stored.attempts, stored.error) == (1, "nothing that lacked was complete afterwards")
    assert timedelta(minutes=4) < without_pause(engine, import_id) <= timedelta(minutes=5)
    assert launch(engine, FLOOR) is None
    change(engine, next_at=LONG_AGO)
    run_once(strava, engine)
    found = lacks(engine, import_id, FLOOR)
    assert (found.nothing, found.later) == (True, 3)
    assert timedelta(hours=23) < without_pause(engine, import_id) <= timedelta(days=1)
    assert Counter(in_order(strava)) == {4: 1} | dict.fromkeys((1, 2, 3), ATTEMPTS)


def test_what_is_put_aside_is_no_progress(strava: StravaStandIn, engine: Engine) -> None:
    """The next months wait for five minutes: a fault of ours must not send the whole history to Strava in vain."""
    import_id = wish_for(engine, steps=[ImportStep.SUMMARY, ImportStep.DETAIL])
    for _ in range(2):
        run_once(strava, engine)
    strava.faults["/activities/3"] = [RejectedRequest("activity 3 does not map")]
    run_once(strava, engine)
    assert wish(engine, import_id).attempts == 1
    assert without_pause(engine, import_id) > timedelta(minutes=4)
    change(engine, next_at=LONG_AGO)
    run_once(strava, engine)
    stored = wish(engine, import_id)
    assert (stored.attempts, in_order(strava)) == (0, [4, 3, 2, 1])


def test_who_asks_again_while_a_run_is_at_work_does_not_wait(strava: StravaStandIn, engine: Engine) -> None:
    import_id = wish_for(engine)
    real = strava.get

    def asked_again(*args: Any, **more: Any) -> Any:
        wish_for(engine)
        return real(*args, **more)

    run_once(strava, engine)
    strava.get = asked_again  # type: ignore[method-assign]
    run_once(strava, engine)
    assert wish(engine, import_id).attempts == 0
    assert without_pause(engine, import_id) <= timedelta(0)
