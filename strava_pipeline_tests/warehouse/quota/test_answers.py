"""What an answer changes in the ledger: where its call counted, Strava's word over ours, and a 429 for everyone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, make_url

from strava_pipeline.strava.quota.windows import Lane, Pair, RateHeaders
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.quota.app_status import load_status
from strava_pipeline_tests.warehouse.quota.ledgers import (
    DAY,
    EDGE,
    MIDNIGHT,
    NOON,
    TODAY,
    Clock,
    answered,
    book,
    book_all,
    booked,
    just_after,
    open_ledger,
    refused,
    windows,
)
from strava_pipeline_tests.warehouse.sessions import end_sessions


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


@pytest.mark.parametrize(
    ("sent_s", "answered_s", "date_s", "before_and_after"),
    [
        (-10, -8, -8, (1, 0)),
        (-10, 6, -3, (1, 0)),
        (-10, 6, 5, (1, 1)),
        (-1, 1, -1, (1, 1)),
        (0.5, 1.5, 1, (1, 1)),
        (-10, 6, None, (1, 1)),
        (-10, -8, None, (1, 0)),
    ],
)
def test_a_call_near_an_edge_is_booked_on_both_sides_until_its_answer_settles_it(
    engine: Engine,
    clock: Clock,
    sent_s: float,
    answered_s: float,
    date_s: float | None,
    before_and_after: tuple[int, int],
) -> None:
    clock.jump(EDGE + seconds(sent_s))
    ledger = open_ledger(engine, clock)
    reservation = book(ledger)
    assert booked(engine, NOON, EDGE) == (1, 1)
    clock.moment = EDGE + seconds(answered_s)
    ledger.settle(reservation, answered(clock, server_time=None if date_s is None else EDGE + seconds(date_s)))
    assert booked(engine, NOON, EDGE) == before_and_after


def test_a_call_near_an_edge_must_fit_on_both_sides(engine: Engine, clock: Clock) -> None:
    clock.jump(EDGE - seconds(10))
    ledger = open_ledger(engine, clock, short=2)
    assert book_all(ledger) == 2
    assert booked(engine, NOON, EDGE) == (2, 2)
    assert refused(ledger) == just_after(EDGE)
    clock.jump(EDGE + seconds(1))
    assert refused(ledger) == just_after(EDGE + timedelta(minutes=15))


def test_midnight_is_an_edge_of_the_day_as_well(engine: Engine, clock: Clock) -> None:
    clock.jump(MIDNIGHT - seconds(10))
    ledger = open_ledger(engine, clock)
    reservation = book(ledger)
    assert booked(engine, TODAY, MIDNIGHT, length=DAY) == (1, 1)
    clock.moment = MIDNIGHT - seconds(5)
    ledger.settle(reservation, answered(clock))
    assert booked(engine, TODAY, MIDNIGHT, length=DAY) == (1, 0)


def test_usage_settles_calls_in_the_last_second_before_an_edge(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock)
    for _ in range(20):
        ledger.settle(book(ledger), answered(clock))
    clock.jump(EDGE - seconds(1))
    reservations = [book(ledger) for _ in range(3)]
    clock.moment = EDGE + seconds(1)
    for usage, reservation in zip((21, 22, 1), reservations, strict=True):
        rates = RateHeaders(read_usage=Pair(usage, 20 + usage))
        ledger.settle(reservation, answered(clock, server_time=EDGE - seconds(1), rates=rates))
    # The third counts afterwards, which needs no proof: the window before is over.
    assert booked(engine, NOON, EDGE) == (23, 1)
    assert [row.read_foreign for row in windows(engine).values()] == [0, 0]


def test_stravas_usage_only_raises_ours(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock)
    for usage in (60, 20):
        ledger.settle(book(ledger), answered(clock, rates=RateHeaders(read_usage=Pair(usage, usage))))
    row = windows(engine)[NOON]
    assert (row.booked, row.read_foreign) == (2, 59)
    assert book_all(ledger) == 100 - 59 - 2


def test_calls_under_way_are_not_taken_for_others(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock)
    first, *others = [book(ledger) for _ in range(5)]
    # Strava had counted them all, though only the first one's answer is here.
    ledger.settle(first, answered(clock, rates=RateHeaders(read_usage=Pair(5, 5))))
    assert windows(engine)[NOON].read_foreign == 0
    # And now the answers come in another order than they were written in.
    for usage, reservation in zip((4, 2, 3, 1), others, strict=True):
        ledger.settle(reservation, answered(clock, rates=RateHeaders(read_usage=Pair(usage, usage))))
    assert windows(engine)[NOON].read_foreign == 0


def test_others_are_seen_exactly_once_no_call_is_under_way(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock)
    first, second = book(ledger), book(ledger)
    ledger.settle(first, answered(clock, rates=RateHeaders(read_usage=Pair(31, 31))))
    assert windows(engine)[NOON].read_foreign == 29, "the call under way may be among those that Strava counted"
    ledger.settle(second, answered(clock, rates=RateHeaders(read_usage=Pair(32, 32))))
    assert windows(engine)[NOON].read_foreign == 30


def test_the_overall_bucket_can_be_the_narrower_one(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock)
    rates = RateHeaders(
        read_limit=Pair(100, 1000), read_usage=Pair(1, 1), overall_limit=Pair(200, 2000), overall_usage=Pair(199, 199)
    )
    ledger.settle(book(ledger), answered(clock, rates=rates))
    assert book_all(ledger) == 1


@pytest.mark.parametrize("text", ["", "garbage", "1", "1,2,3", "-5,10", "1e3,5", "99999999999,1", "٣,٤"])
def test_garbled_headers_change_nothing(engine: Engine, clock: Clock, text: str) -> None:
    ledger = open_ledger(engine, clock)
    names = ("X-ReadRateLimit-Limit", "X-ReadRateLimit-Usage", "X-RateLimit-Limit", "X-RateLimit-Usage")
    ledger.settle(book(ledger), answered(clock, rates=RateHeaders.parse(dict.fromkeys(names, text))))
    row = windows(engine)[NOON]
    assert (row.booked, row.read_limit, row.read_foreign) == (1, None, 0)
    assert (row.overall_limit, row.overall_foreign) == (None, 0)


def test_usage_told_at_an_edge_is_not_taken_for_either_window(engine: Engine, clock: Clock) -> None:
    clock.jump(EDGE)
    ledger = open_ledger(engine, clock)
    ledger.settle(book(ledger), answered(clock, rates=RateHeaders(read_usage=Pair(100, 100))))
    assert [row.read_foreign for row in windows(engine).values()] == [0, 0]
    # The day has no edge here, so its count holds.
    assert windows(engine, DAY)[TODAY].read_foreign == 99


DAY_USED_UP = RateHeaders(read_limit=Pair(100, 1000), read_usage=Pair(3, 1000))
OVERALL_DAY_USED_UP = RateHeaders(overall_limit=Pair(200, 2000), overall_usage=Pair(3, 2000))


@pytest.mark.parametrize(
    ("more", "until"),
    [
        ({"names_a_window": True}, EDGE),
        ({"names_a_window": True, "rates": DAY_USED_UP}, MIDNIGHT),
        ({"names_a_window": True, "rates": OVERALL_DAY_USED_UP}, MIDNIGHT),
        ({"retry_after": timedelta(seconds=77)}, NOON + timedelta(minutes=5, seconds=77)),
        ({}, NOON + timedelta(minutes=6)),
        ({"server_time": None}, NOON + timedelta(minutes=6)),
    ],
    ids=["window named", "day of reads", "day of all calls", "Retry-After", "unnamed", "no Date"],
)
def test_a_429_stops_everyone_and_ends_by_itself(
    engine: Engine, database: str, clock: Clock, more: dict[str, Any], until: datetime
) -> None:
    ledger = open_ledger(engine, clock)
    ledger.settle(book(ledger), answered(clock, 429, **more))
    other_process = open_engine(make_url(database))
    [told] = {refused(open_ledger(other_process, clock), lane) for lane in Lane}
    other_process.dispose()
    assert until <= told <= until + seconds(2)
    clock.jump(told - seconds(0.1))
    assert refused(ledger) == told
    clock.jump(told)
    book(ledger)


@pytest.mark.parametrize("status", [200, 400, 403, 500])
def test_a_used_up_quota_blocks_whatever_the_status(engine: Engine, clock: Clock, status: int) -> None:
    ledger = open_ledger(engine, clock)
    ledger.settle(book(ledger), answered(clock, status, limit_reached=True, names_a_window=True))
    assert refused(ledger) == just_after(EDGE)


def test_a_429_of_a_proxy_does_not_set_stravas_clock(engine: Engine, clock: Clock) -> None:
    clock.agree()
    ledger = open_ledger(engine, clock)
    wrong = clock.moment + timedelta(hours=3)
    ledger.settle(book(ledger), answered(clock, 429, answered=None, server_time=wrong))
    with engine.connect() as connection:
        assert load_status(connection).clock.is_in_doubt


def test_a_call_waits_for_the_end_of_a_block_within_its_time(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock)
    ledger.settle(book(ledger), answered(clock, 429))
    assert book(ledger, wait=timedelta(minutes=2)).reserved_at == NOON + timedelta(minutes=6)


def test_a_longer_block_is_not_shortened_by_a_later_429(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock)
    first, second = book(ledger), book(ledger)
    ledger.settle(first, answered(clock, status=429, retry_after=timedelta(minutes=9)))
    ledger.settle(second, answered(clock, status=429))
    assert refused(ledger) == clock.moment + timedelta(minutes=9)


def test_a_block_outlives_its_window(engine: Engine, clock: Clock) -> None:
    ledger = open_ledger(engine, clock)
    ledger.settle(book(ledger), answered(clock, status=429, retry_after=timedelta(hours=2)))
    until = clock.moment + timedelta(hours=2)
    clock.jump(clock.moment + timedelta(hours=1))
    assert refused(ledger) == until


def test_an_answer_outlasts_a_database_that_starts_anew(engine: Engine, clock: Clock) -> None:
    clock.jump(EDGE - seconds(10))
    ledger = open_ledger(engine, clock)
    reservation = book(ledger)
    end_sessions(engine)
    ledger.settle(reservation, answered(clock))
    assert booked(engine, NOON, EDGE) == (1, 0)


def test_an_answer_is_settled_once(engine: Engine, clock: Clock) -> None:
    clock.jump(EDGE - seconds(10))
    ledger = open_ledger(engine, clock)
    reservation = book(ledger)
    for _ in range(2):
        ledger.settle(reservation, answered(clock))
    assert booked(engine, NOON, EDGE) == (1, 0)


@pytest.mark.parametrize(
    ("answer", "waits"),
    [
        ({}, "off"),
        ({"status": 503}, "on"),
        ({"status": 429, "names_a_window": True}, "on"),
        ({"rates": RateHeaders(read_usage=Pair(60, 60))}, "on"),
        ({"rates": RateHeaders(read_limit=Pair(50, 500))}, "on"),
    ],
    ids=["room is free", "a fault", "a 429", "others' calls", "another limit"],
)
def test_only_an_answer_that_just_frees_room_is_committed_without_waiting_for_the_disk(
    engine: Engine, clock: Clock, answer: dict[str, Any], waits: str
) -> None:
    ledger = open_ledger(engine, clock)
    clock.agree()
    seen = []

    def note(connection: Connection) -> None:
        seen.append(connection.exec_driver_sql("SHOW synchronous_commit").scalar_one())

    event.listen(engine, "commit", note)
    reservation = book(ledger)
    ledger.settle(reservation, answered(clock, **answer))
    assert seen == ["on", waits]
