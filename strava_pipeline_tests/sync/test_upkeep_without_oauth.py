"""Upkeep while Strava's OAuth is away: who needs a new token waits for it, all others are served."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count
from socket import gethostname

import pytest
from sqlalchemy import Engine, func, select, update

from strava_pipeline.errors import StravaAway
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.strava.quota.outage import Outage, Service
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.access import open_tokens
from strava_pipeline.sync.context import open_sync
from strava_pipeline.sync.upkeep import Contexts, Worked, work_off
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.quota.outages import load_outage, store_outage
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep
from strava_pipeline.warehouse.states import UpkeepKind
from strava_pipeline.warehouse.upkeep.due import OF_ALL
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.strava.loopback import UNAUTHORIZED, Asked, Loopback, Reply, reply
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn
from strava_pipeline_tests.upkeeping import LONG_AGO, make_due, rows, work

HOUR = timedelta(hours=1)
EXPIRED = range(1, 7)
GOOD = 7
PROFILE = UpkeepKind.PROFILE


@pytest.fixture
def moment(engine: Engine) -> datetime:
    with engine.connect() as connection:
        return now(connection)


@pytest.fixture
def strava(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A Strava whose OAuth answers nobody; its API knows one good token."""

    def answer(asked: Asked) -> Reply:
        if asked.path.startswith("/oauth"):
            return reply({}, 503)
        if f"access-{GOOD}" not in asked.headers["Authorization"]:
            return UNAUTHORIZED
        return reply([]) if asked.path.endswith("/activities") else reply({"id": GOOD})

    with Loopback() as server:
        server.answer = answer
        monkeypatch.setenv("STRAVA_API_URL", f"{server.url}/api/v3")
        monkeypatch.setenv("STRAVA_OAUTH_URL", f"{server.url}/oauth")
        yield server


@pytest.fixture
def riders(strava: Loopback, engine: Engine, moment: datetime) -> None:
    """Athletes whose tokens have expired, and last one with a good token; each has its last days to be compared."""
    tokens = open_tokens(load_settings(), engine)
    for rider in (*EXPIRED, GOOD):
        ends = moment + (HOUR if rider == GOOD else -HOUR)
        grant = TokenGrant(Secret(f"access-{rider}"), Secret(f"refresh-{rider}"), ends, {"id": rider})
        tokens.connect(grant, ["read", "activity:read_all"])
    with engine.begin() as connection:
        connection.execute(update(users).values(refreshed_at=moment - 7 * HOUR))


def away(engine: Engine, moment: datetime, *, probe_at: datetime) -> None:
    """OAuth is away since eight hours."""
    since = moment - 8 * HOUR
    state = Outage(9, since, several=True, hosts=(gethostname(),), away_since=since, probe_at=probe_at, pause_s=300.0)
    with engine.begin() as connection:
        store_outage(connection, Service.OAUTH, state)


def run(engine: Engine, tasks: int = 100) -> Worked:
    done, settings = count(), load_settings()
    sync = open_sync(settings, engine, Lane.RECONCILE, timedelta(0))
    return work_off(Contexts(sync, sync), settings, lambda: next(done) < tasks)


def refused(strava: Loopback) -> int:
    """How many requests were sent with a token that does not work."""
    return sum(
        asked.method == "GET" and f"access-{GOOD}" not in asked.headers["Authorization"] for asked in strava.asked
    )


def probe_at(engine: Engine) -> datetime | None:
    with engine.connect() as connection:
        return load_outage(connection, Service.OAUTH).probe_at


def due_at(engine: Engine) -> set[datetime]:
    """When tasks of those whose tokens have expired are due."""
    with engine.connect() as connection:
        query = select(upkeep.c.due_at).where(upkeep.c.athlete_id.not_in((GOOD, OF_ALL)))
        return set(connection.execute(query).scalars())


def failures(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(select(func.sum(upkeep.c.failures))).scalar_one())


def test_tokens_that_have_expired_cost_no_request_and_stand_in_nobodys_way(
    riders: None, strava: Loopback, engine: Engine, moment: datetime
) -> None:
    away(engine, moment, probe_at=moment + HOUR / 12)
    worked = run(engine)
    assert (refused(strava), worked.failed, worked.stopped) == (0, {}, None)
    assert worked.done == {UpkeepKind.RECENT: 1, PROFILE: 1}
    assert (due_at(engine), failures(engine)) == ({moment + HOUR / 12}, 0)


def test_the_next_probe_costs_one_request_for_all_and_its_failure_is_no_tasks(
    riders: None, strava: Loopback, engine: Engine, moment: datetime
) -> None:
    away(engine, moment, probe_at=moment)
    worked = run(engine)
    assert (refused(strava), worked.failed, failures(engine)) == (1, {}, 0)
    next_probe = probe_at(engine)
    assert next_probe is not None
    assert next_probe > moment + HOUR / 12
    assert due_at(engine) == {next_probe}


def test_a_refresh_that_fails_while_oauth_is_not_away_is_tried_again_after_a_growing_pause(
    riders: None, strava: Loopback, engine: Engine
) -> None:
    worked = run(engine, tasks=4)
    assert worked.failed
    assert failures(engine) == len(worked.failed)


def test_only_the_athlete_whose_token_cannot_be_refreshed_waits(
    settings: Settings, engine: Engine, moment: datetime
) -> None:
    connect_riders(engine, RIDER, RIDER + 1)
    strava = StravaStandIn()
    strava.faults["/athlete"] = [
        StravaAway("OAuth does not answer", since=LONG_AGO, retry_at=moment + HOUR, refreshes_only=True)
    ]
    worked = work(strava, engine)
    assert (worked.done[PROFILE], worked.failed, worked.stopped) == (1, {}, None)
    row = rows(engine)[PROFILE, ""]
    assert (row.due_at, row.failures, row.lease_until) == (moment + HOUR, 0, None)
    make_due(engine, upkeep.c.done_at.is_(None))
    assert work(strava, engine).done[PROFILE] == 1
