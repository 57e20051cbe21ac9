"""Athletes who withdraw: erased once Strava confirms it, on nobody else's word, and however long Strava is away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, insert, select, update

from strava_pipeline.errors import DatabaseUnavailable, NeedsReauthorization, RetriableStravaError
from strava_pipeline.settings import Settings
from strava_pipeline.sync.erasing import finish_erasures
from strava_pipeline.warehouse.erasures import athletes_being_erased
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.tables import athletes
from strava_pipeline_tests.defs.conftest import CodeLocation
from strava_pipeline_tests.defs.webhook_runs import work_off
from strava_pipeline_tests.inbox import LONG_AGO, change, connect_riders, row, states, store
from strava_pipeline_tests.strava_stand_in import RIDER


@pytest.fixture(autouse=True)
def rider(engine: Engine) -> None:
    connect_riders(engine, RIDER)


def withdraw(engine: Engine) -> None:
    store(engine, RIDER, object_type="athlete", aspect_type="update", updates={"authorized": "false"})


def test_a_forged_deauthorization_erases_nothing(location: CodeLocation, engine: Engine) -> None:
    change_users(engine, strava_access_token="envelope")
    withdraw(engine)
    assert work_off(location, engine).success
    assert location.strava.asked == ["/athlete"]
    assert states(engine) == ["done"]
    assert user(engine) == ("active", "envelope")


def test_a_refused_token_alone_is_no_deauthorization(location: CodeLocation, engine: Engine) -> None:
    change_users(engine, strava_access_token="envelope")
    location.strava.faults["/athlete"] = [NeedsReauthorization("401", status=401)] * 4
    withdraw(engine)
    assert not work_off(location, engine).success
    assert (row(engine).state, row(engine).error_class) == ("dead", "transient")
    assert user(engine) == ("active", "envelope")


def test_a_deauthorization_outlasts_an_outage_of_strava(location: CodeLocation, engine: Engine) -> None:
    change_users(engine, strava_access_token="envelope", state="needs_reauth")
    withdraw(engine)
    # Of four days, the first minutes, some hour, and the end.
    for age, wait in ((0, 1), (20, 20), (4 * 24 * 60, 60)):
        change(engine, not_before=LONG_AGO, received_at=datetime.now(UTC) - timedelta(minutes=age))
        location.strava.faults["/athlete"] = [RetriableStravaError("Strava answered 503", status=503)] * 4
        assert work_off(location, engine).success
        stored = row(engine)
        assert (stored.state, stored.waiting_for, stored.error) == ("waiting", "strava", "Strava answered 503")
        assert (stored.attempts, stored.redrives) == (0, 0)
        due = stored.not_before - datetime.now(UTC)
        assert timedelta(minutes=wait - 1) < due < timedelta(minutes=wait + 1)
        assert user(engine) == ("needs_reauth", "envelope")
    change(engine, not_before=LONG_AGO)
    location.strava.faults["/athlete"] = [NeedsReauthorization("connect again")]
    assert work_off(location, engine).success
    assert states(engine) == ["done"]
    assert user(engine) == ("revoked", None)


def test_a_proxys_page_with_401_is_an_outage_and_not_a_refused_token(location: CodeLocation, engine: Engine) -> None:
    change_users(engine, strava_access_token="envelope")
    page = RetriableStravaError("the answer is not Strava's (401, text/html)", status=401, answered=False)
    location.strava.faults["/athlete"] = [page] * 4
    withdraw(engine)
    assert work_off(location, engine).success
    assert (row(engine).state, row(engine).waiting_for) == ("waiting", "strava")
    assert user(engine) == ("active", "envelope")


def test_a_deauthorization_outlasts_a_database_that_is_slow(location: CodeLocation, engine: Engine) -> None:
    location.strava.faults["/athlete"] = [DatabaseUnavailable("did not answer in time")] * 4
    withdraw(engine)
    assert work_off(location, engine).success
    assert (row(engine).state, row(engine).waiting_for) == ("waiting", "database")


def test_a_deauthorization_that_strava_confirms_erases_the_tokens(location: CodeLocation, engine: Engine) -> None:
    # As a refused refresh leaves it.
    change_users(engine, strava_access_token="envelope", state="needs_reauth")
    location.strava.faults["/athlete"] = [NeedsReauthorization("connect again")]
    withdraw(engine)
    assert work_off(location, engine).success
    assert states(engine) == ["done"]
    assert user(engine) == ("revoked", None)


def test_an_event_is_done_once_it_is_certain_that_the_data_will_be_deleted(
    location: CodeLocation, engine: Engine, settings: Settings
) -> None:
    change_users(engine, strava_access_token="envelope", state="needs_reauth")
    with engine.begin() as connection:
        connection.execute(insert(athletes).values(id=RIDER, fetched_at=LONG_AGO))
    location.strava.faults["/athlete"] = [NeedsReauthorization("connect again")]
    withdraw(engine)
    assert work_off(location, engine).success
    with engine.connect() as connection:
        assert (states(engine), athletes_being_erased(connection)) == (["done"], [RIDER])
    # Whoever is there goes on: the bridge, or upkeep.
    finish_erasures(settings, engine, lambda: True)
    with engine.connect() as connection:
        assert connection.execute(select(athletes)).all() == []
        assert athletes_being_erased(connection) == []


def test_other_news_of_an_athlete_need_no_request(location: CodeLocation, engine: Engine) -> None:
    store(engine, RIDER, object_type="athlete", aspect_type="update")
    assert work_off(location, engine).success
    assert states(engine) == ["done"]
    assert location.strava.asked == []


def change_users(engine: Engine, **values: str) -> None:
    with engine.begin() as connection:
        connection.execute(update(users).values(**values))


def user(engine: Engine) -> tuple[str, str | None]:
    with engine.connect() as connection:
        found = connection.execute(select(users)).one()
    return found.state, found.strava_access_token
