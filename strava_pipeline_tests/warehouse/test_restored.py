"""Tables that are in another database than they belong to come from a backup: nobody calls Strava until a check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from strava_pipeline.errors import RestoreUnchecked
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.outage import Patience
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.inbox.outage_waits import LaunchGate, launch_gate
from strava_pipeline.warehouse.mail.mail_queue import any_due, claim_next, queue_for_athlete
from strava_pipeline.warehouse.quota.ledger import CheckingLedger, PostgresLedger
from strava_pipeline.warehouse.quota.oauth_watch import oauth_turn
from strava_pipeline.warehouse.restored import (
    UNKNOWN_SERVER,
    are_calls_held,
    hold_calls,
    identity_here,
    let_calls_go,
    load_belonging,
    settle_here,
)
from strava_pipeline.warehouse.states import MailKind
from strava_pipeline_tests.conftest import new_database, opened
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.moody_server import MoodyDatabase
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.streaming_replica import StreamingReplica
from strava_pipeline_tests.wishes import launch, wish_for

LIMITS = RateLimits(100, 1000, 900, 86_400)
LONGEST, NO_WAIT = timedelta(seconds=10), timedelta()


def belongs(engine: Engine) -> bool:
    """Whether calls may be made, as the tables say."""
    with engine.connect() as connection:
        return not are_calls_held(connection)


def change(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


@pytest.fixture
def settled(engine: Engine) -> Engine:
    """Tables that belong to their database."""
    with engine.begin() as connection:
        settle_here(connection)
    return engine


@contextmanager
def new_copy(server: Server, engine: Engine) -> Iterator[Engine]:
    """The tables in another database of the same server, as after a dump and a restore."""
    engine.dispose()
    with new_database(server, str(engine.url.database)) as name, opened(server.url(name, Login.PIPELINE)) as copy:
        yield copy


@pytest.fixture
def copied(server: Server, settled: Engine) -> Iterator[Engine]:
    """Tables that belong to another database."""
    with new_copy(server, settled) as copy:
        yield copy


def test_the_first_call_settles_where_the_tables_belong(engine: Engine) -> None:
    with engine.connect() as connection:
        assert load_belonging(connection).told is None
        here = identity_here(connection)
    ledger = PostgresLedger(engine, LIMITS)
    ledger.reserve(Lane.LIVE, "/athlete", None, longest=LONGEST, max_wait=NO_WAIT)
    with engine.connect() as connection:
        assert load_belonging(connection).told == here
    assert here.system_identifier != UNKNOWN_SERVER
    assert belongs(engine)


def test_a_refresh_settles_it_as_well(engine: Engine) -> None:
    with oauth_turn(engine):
        pass
    with engine.connect() as connection:
        assert load_belonging(connection).told == identity_here(connection)


def test_in_another_database_no_call_is_booked_and_nothing_refreshed(copied: Engine) -> None:
    assert not belongs(copied)
    with pytest.raises(RestoreUnchecked, match="strava-pipeline restore check") as refused:
        PostgresLedger(copied, LIMITS).reserve(Lane.LIVE, "/athlete", None, longest=LONGEST, max_wait=NO_WAIT)
    with copied.connect() as connection:
        assert refused.value.retry_at is not None
        assert refused.value.retry_at > now(connection)
        assert connection.execute(text("SELECT count(*) FROM ops.api_calls")).scalar() == 0
    for always in (False, True):
        with pytest.raises(RestoreUnchecked), oauth_turn(copied, always=always):
            pytest.fail("a turn was given")


def test_the_check_alone_may_call(copied: Engine) -> None:
    booked = CheckingLedger(copied, LIMITS).reserve(Lane.BACKFILL, "/athlete", None, longest=LONGEST, max_wait=NO_WAIT)
    assert booked.windows
    with oauth_turn(copied, checks_restore=True) as turn:
        assert not turn.is_probe


def test_another_server_is_another_place_even_with_the_same_number_of_the_database(settled: Engine) -> None:
    change(settled, "UPDATE ops.database_identity SET system_identifier = system_identifier + 1")
    assert not belongs(settled)
    change(settled, "UPDATE ops.database_identity SET system_identifier = system_identifier - 1")
    assert belongs(settled)
    change(settled, "UPDATE ops.database_identity SET database_oid = database_oid + 1")
    assert not belongs(settled)


def test_a_check_holds_calls_from_its_beginning_to_its_end(settled: Engine) -> None:
    with settled.begin() as connection:
        hold_calls(connection)
    assert not belongs(settled)
    with settled.begin() as connection:
        let_calls_go(connection)
    assert belongs(settled)


def test_where_the_login_may_not_ask_for_the_server_the_database_tells(
    server: Server, engine: Engine, admin_engine: Engine
) -> None:
    asking = "FUNCTION pg_catalog.pg_control_system()"
    change(admin_engine, f"REVOKE EXECUTE ON {asking} FROM PUBLIC")
    admin_engine.dispose()
    try:
        with engine.begin() as connection:
            here = identity_here(connection)
            settle_here(connection)
        assert here.system_identifier == UNKNOWN_SERVER
        assert belongs(engine)
        with new_copy(server, engine) as copy:
            assert not belongs(copy)
    finally:
        change(admin_engine, f"GRANT EXECUTE ON {asking} TO PUBLIC")
    engine.dispose()
    # Now it may ask, which tells another place: a check in vain is better than none.
    assert not belongs(engine)


def test_a_replica_is_the_same_place(moody: MoodyDatabase, replica: StreamingReplica) -> None:
    with opened(moody.address) as primary, primary.begin() as connection:
        settle_here(connection)
        here = identity_here(connection)
    replica.follow()
    with opened(replica.address(moody.name)) as there, there.connect() as connection:
        assert identity_here(connection) == here
        assert not are_calls_held(connection)


def test_meanwhile_no_run_is_launched_and_no_mail_sent(copied: Engine) -> None:
    connect_riders(copied, RIDER)
    wish_for(copied)
    with copied.begin() as connection:
        queue_for_athlete(connection, RIDER, MailKind.RECONNECT)
        assert launch_gate(connection) is LaunchGate.CLOSED
    assert launch(copied) is None
    assert (any_due(copied), claim_next(copied)) == (False, None)
    with copied.begin() as connection:
        hold_calls(connection)
        let_calls_go(connection)
        assert launch_gate(connection) is LaunchGate.OPEN
    assert launch(copied) is not None
    assert any_due(copied)


def test_a_waiting_call_goes_on_once_the_check_has_passed(copied: Engine) -> None:
    waits: list[float] = []

    def pass_meanwhile(seconds: float) -> None:
        waits.append(seconds)
        with copied.begin() as connection:
            hold_calls(connection)
            let_calls_go(connection)

    ledger = PostgresLedger(copied, LIMITS, sleep=pass_meanwhile)
    booked = ledger.reserve(Lane.BACKFILL, "/athlete", None, longest=LONGEST, max_wait=NO_WAIT, patience=Patience(3600))
    assert (booked.lane, len(waits)) == (Lane.BACKFILL, 1)
