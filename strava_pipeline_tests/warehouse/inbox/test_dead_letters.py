"""Dead letters: visible, tried again by themselves, replayed or discarded by an operator, never deleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from strava_pipeline.warehouse.inbox.claims import claim_objects, mark_dead
from strava_pipeline.warehouse.inbox.dead_letters import (
    EVERY,
    REDRIVE_AFTER,
    Selection,
    discard,
    find_dead_letter,
    find_dead_letters,
    redrive_due,
    replay,
)
from strava_pipeline.warehouse.states import ErrorClass
from strava_pipeline_tests.inbox import LONG_AGO, change, connect_riders, row, rows, states, store
from strava_pipeline_tests.strava_stand_in import RIDER


@pytest.fixture(autouse=True)
def rider(engine: Engine) -> None:
    connect_riders(engine, RIDER)


def die(engine: Engine, error_class: ErrorClass = ErrorClass.TRANSIENT, kind: str = "RetriableStravaError") -> None:
    """Whatever is due dies."""
    for claim in claim_objects(engine, 10):
        with engine.begin() as connection:
            mark_dead(connection, claim.fence, f"no answer about {claim.object_id}", kind=kind, error_class=error_class)


def found(engine: Engine, chosen: Selection = EVERY) -> list[int]:
    with engine.connect() as connection:
        return [letter.object_id for letter in find_dead_letters(connection, chosen)]


def minutes_until(moment: datetime | None) -> int:
    assert moment is not None
    return round((moment - datetime.now(UTC)).total_seconds() / 60)


def test_a_dead_letter_tells_what_died_and_why(engine: Engine) -> None:
    store(engine, 1)
    die(engine, ErrorClass.PERMANENT, "RejectedRequest")
    with engine.connect() as connection:
        (letter,) = find_dead_letters(connection)
        assert find_dead_letter(connection, letter.id) == letter
        assert find_dead_letter(connection, letter.id + 1) is None
    assert (letter.object_id, letter.error_class, letter.error_kind) == (1, ErrorClass.PERMANENT, "RejectedRequest")
    assert (letter.error, letter.attempts, letter.redrives) == ("no answer about 1", 1, 0)
    assert claim_objects(engine, 10) == []


def test_dead_letters_are_chosen_by_id_class_and_age(engine: Engine) -> None:
    store(engine, 1)
    die(engine, ErrorClass.PERMANENT)
    store(engine, 2, 3)
    die(engine, ErrorClass.TRANSIENT)
    old = [rows(engine)[1].id]
    change(engine, old, finished_at=datetime.now(UTC) - timedelta(days=3))
    assert found(engine) == [1, 2, 3]
    assert found(engine, Selection(ids=[rows(engine)[0].id])) == [1]
    assert found(engine, Selection(ids=[])) == []
    assert found(engine, Selection(error_class=ErrorClass.TRANSIENT)) == [2, 3]
    assert found(engine, Selection(error_class=ErrorClass.TRANSIENT, older_than=timedelta(days=2))) == [2]
    assert found(engine, Selection(error_class=ErrorClass.PERMANENT, older_than=timedelta(days=2))) == []


def test_a_replayed_letter_is_due_at_once_and_begins_anew(engine: Engine) -> None:
    store(engine, 1, 2)
    die(engine, ErrorClass.PERMANENT)
    first = rows(engine)[0].id
    change(engine, [first], waits=3, redrives=5)
    with engine.begin() as connection:
        assert replay(connection, Selection(ids=[first])) == [first]
        assert replay(connection, Selection(ids=[first])) == []
    stored = rows(engine)[0]
    assert (stored.state, stored.waits, stored.redrives, stored.attempts) == ("waiting", 0, 0, 1)
    assert [claim.object_id for claim in claim_objects(engine, 10)] == [1]
    die(engine)
    assert states(engine) == ["launched", "dead"]


def test_a_discarded_letter_is_kept_with_who_and_why(engine: Engine) -> None:
    store(engine, 1)
    die(engine)
    number = row(engine).id
    with engine.begin() as connection:
        assert discard(connection, Selection(ids=[number]), by="mira", because="a test ride") == [number]
        assert discard(connection, EVERY, by="mira", because="again") == []
        assert replay(connection, EVERY) == []
        letter = find_dead_letter(connection, number)
    assert letter is not None
    assert (letter.state, letter.discarded_by, letter.discarded_because) == ("discarded", "mira", "a test ride")
    assert letter.discarded_at is not None
    assert letter.redrive_at is None
    assert found(engine) == []


def test_a_transient_one_is_tried_again_by_itself_ever_later_and_then_no_more(engine: Engine) -> None:
    store(engine, 1)
    waited = []
    for _ in REDRIVE_AFTER:
        die(engine)
        waited.append(minutes_until(row(engine).redrive_at))
        with engine.begin() as connection:
            assert redrive_due(connection) == []
        change(engine, redrive_at=LONG_AGO)
        with engine.begin() as connection:
            assert len(redrive_due(connection)) == 1
    assert waited == [15, 60, 360, 1440, 4320]
    die(engine)
    stored = row(engine)
    assert (stored.state, stored.redrive_at, stored.attempts, stored.redrives) == ("dead", None, 6, 5)


def test_a_permanent_one_waits_for_the_operator(engine: Engine) -> None:
    store(engine, 1)
    die(engine, ErrorClass.PERMANENT)
    assert row(engine).redrive_at is None
    with engine.begin() as connection:
        assert redrive_due(connection) == []
