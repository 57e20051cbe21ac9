"""The journal: intents, answers that outlive their process, and answers that nobody waits for any more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, create_engine, event, func, insert, select, text, update

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.local.logins import SUPERUSER
from strava_pipeline.warehouse.schema.grant_tables import token_journal, users
from strava_pipeline.warehouse.states import GrantState
from strava_pipeline.warehouse.tokens import token_journal as journal
from strava_pipeline.warehouse.tokens.token_journal import (
    Envelopes,
    answer_for,
    answers,
    delete_entries,
    delete_entry,
    record_attempt,
)
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock

RIDER = 2**40
ENDS_AT = datetime(2030, 1, 1, tzinfo=UTC)


def envelopes(number: int) -> Envelopes:
    return Envelopes(f"v1.k.n.access-{number}", f"v1.k.n.refresh-{number}", ENDS_AT)


def entries(engine: Engine) -> list[tuple[int, str | None]]:
    """Generation and refresh token of each entry, oldest first."""
    with engine.connect() as connection:
        rows = connection.execute(select(token_journal).order_by(token_journal.c.id))
        return [(row.generation, row.strava_refresh_token) for row in rows]


@pytest.fixture(autouse=True)
def athlete(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(users).values(athlete_id=RIDER, scopes=[], state="active", generation=1))


def test_an_intent_is_there_before_strava_is_asked_and_the_answer_at_once_after(engine: Engine) -> None:
    with record_attempt(engine, RIDER, 2) as attempt:
        assert entries(engine) == [(2, None)]
        assert not attempt.follows_unanswered
        attempt.keep(envelopes(2))
        assert entries(engine) == [(2, "v1.k.n.refresh-2")]
    with engine.connect() as connection:
        answer = answer_for(connection, RIDER, 2)
        assert answer is not None
        assert answer.envelopes.strava_token_expires_at == ENDS_AT
        assert answer_for(connection, RIDER, 3) is None
        assert answer_for(connection, RIDER + 1, 2) is None


def test_an_intent_without_an_answer_is_told_and_kept_for_a_while(engine: Engine) -> None:
    with record_attempt(engine, RIDER, 2):
        pass
    with record_attempt(engine, RIDER, 2) as second:
        assert second.follows_unanswered
    assert entries(engine) == [(2, None), (2, None)]
    with engine.begin() as connection:
        connection.execute(update(token_journal).values(begun_at=func.now() - journal.ABANDONED - timedelta(seconds=1)))
    with record_attempt(engine, RIDER, 2) as third:
        assert third.follows_unanswered
    assert len(entries(engine)) == 1


def test_the_newest_answer_comes_first(engine: Engine) -> None:
    for number in (2, 3, 4):
        with record_attempt(engine, RIDER, 2) as attempt:
            attempt.keep(envelopes(number))
    with engine.begin() as connection:
        found = answers(connection, RIDER)
        assert [row.envelopes.strava_refresh_token[-1] for row in found] == ["4", "3", "2"]
        delete_entry(connection, found[0].id)
        newest = answer_for(connection, RIDER, 2)
        assert newest is not None
        assert newest.envelopes.strava_refresh_token.endswith("3")
        delete_entries(connection, RIDER)
    assert entries(engine) == []


def test_an_answer_whose_intent_was_cleared_away_is_kept(engine: Engine) -> None:
    with record_attempt(engine, RIDER, 2) as attempt:
        with engine.begin() as connection:
            delete_entries(connection, RIDER)
        attempt.keep(envelopes(2))
    assert entries(engine) == [(2, "v1.k.n.refresh-2")]


def test_an_answer_is_not_kept_for_whom_all_was_erased(engine: Engine) -> None:
    with record_attempt(engine, RIDER, 2) as attempt:
        with engine.begin() as connection:
            connection.execute(update(users).values(state=GrantState.REVOKED))
            delete_entries(connection, RIDER)
        attempt.keep(envelopes(2))
    assert entries(engine) == []


def test_an_answer_and_an_erasure_at_once_leave_nothing(engine: Engine) -> None:
    with record_attempt(engine, RIDER, 2) as attempt, ThreadPoolExecutor(1) as other:
        with engine.begin() as connection:
            connection.execute(select(users).with_for_update())
            connection.execute(update(users).values(state=GrantState.REVOKED))
            delete_entries(connection, RIDER)
            late = other.submit(attempt.keep, envelopes(2))
            wait_for_a_lock(engine, waiting=1)
        late.result(PATIENCE_SECONDS)
    assert entries(engine) == []


def test_an_answer_is_held_while_the_database_is_away(engine: Engine) -> None:
    failures = threading.Semaphore(0)

    @event.listens_for(engine, "handle_error")
    def count(_: object) -> None:
        failures.release()

    with record_attempt(engine, RIDER, 2) as attempt, ThreadPoolExecutor(1) as other:
        with database_away(engine):
            kept = other.submit(attempt.keep, envelopes(2))
            # By the connection that waited, and by a fresh one.
            assert all(failures.acquire(timeout=PATIENCE_SECONDS) for _ in range(2))
            assert not kept.done()
        kept.result(PATIENCE_SECONDS)
    assert entries(engine) == [(2, "v1.k.n.refresh-2")]


def test_a_database_that_stays_away_is_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "KEEP_TRYING_SECONDS", 0.2)
    with record_attempt(engine, RIDER, 2) as attempt, database_away(engine), pytest.raises(DatabaseUnavailable):
        attempt.keep(envelopes(2))


@contextmanager
def database_away(engine: Engine) -> Iterator[None]:
    """Nobody is connected, and nobody can be."""
    name = engine.url.database
    admin = create_engine(engine.url.set(database="postgres", username=SUPERUSER), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'))
        connection.execute(
            text("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = :name"), {"name": name}
        )
        try:
            yield
        finally:
            connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'))
    admin.dispose()
