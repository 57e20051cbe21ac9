"""A check of a restored database: who left is erased again, who must connect again is named, and it always goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from strava_pipeline.errors import AppInactive, ClientRefused, QuotaExhausted, RestoreUnchecked
from strava_pipeline.keyring import Keyring
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync import restore_check
from strava_pipeline.sync.access import open_client
from strava_pipeline.sync.disconnect import disconnect
from strava_pipeline.sync.erasing import finish_erasure
from strava_pipeline.sync.restore_check import Passed
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.erasure_list import Departures, Extent, Folder, note_departure, read_departures
from strava_pipeline.warehouse.restored import are_calls_held
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore
from strava_pipeline_tests.certificates import make_certificate
from strava_pipeline_tests.erasing import OTHER, data_of, grant, two_whole_athletes
from strava_pipeline_tests.strava.loopback import (
    INACTIVE,
    UNAUTHORIZED,
    Answer,
    Asked,
    Loopback,
    Reply,
    _Handler,
    reply,
)
from strava_pipeline_tests.strava_stand_in import RIDER

DEAD = reply(
    {"message": "Bad Request", "errors": [{"resource": "RefreshToken", "field": "refresh_token", "code": "invalid"}]},
    400,
)
OURS_REFUSED = reply(
    {"message": "Unauthorized", "errors": [{"resource": "Application", "field": "client_secret", "code": "invalid"}]},
    401,
)
ODD = reply({"message": "Unprocessable", "errors": [{"resource": "X", "field": "y", "code": "z"}]}, 422)
USED_UP = {"X_ReadRateLimit_Limit": "100,1000", "X_ReadRateLimit_Usage": "100,1000"}
SCOPES = ["read", "activity:read_all"]


def profile(athlete: int, **headers: str) -> Reply:
    return reply({"id": athlete, "resource_state": 3, "firstname": "Ann", "lastname": "Rider"}, 200, **headers)


@pytest.fixture
def strava(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with Loopback() as loopback:
        monkeypatch.setenv("STRAVA_API_URL", f"{loopback.url}/api/v3")
        monkeypatch.setenv("STRAVA_OAUTH_URL", f"{loopback.url}/oauth")
        # Both athletes have the token of their own.
        loopback.answer = answering({})
        yield loopback


@pytest.fixture
def right_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strava's answers tell this moment, so that what they say of usage is about it."""
    monkeypatch.setattr(_Handler, "date_time_string", BaseHTTPRequestHandler.date_time_string)


def tokens(strava: Loopback) -> list[str]:
    """The access tokens with which Strava was asked."""
    return [asked.headers["Authorization"].removeprefix("Bearer ") for asked in strava.asked if asked.method == "GET"]


def answering(unlike: dict[int, Answer], refresh: Answer = DEAD) -> Callable[[Asked], Answer]:
    """What Strava says of each athlete, whose access tokens are ``access-1`` and ``access-2``."""
    whose = {"access-1": RIDER, "access-2": OTHER}

    def answer(asked: Asked) -> Answer:
        if asked.path.endswith("/token"):
            return refresh
        athlete = whose[asked.headers["Authorization"].removeprefix("Bearer ")]
        return unlike.get(athlete, profile(athlete))

    return answer


@pytest.fixture
def restored(settings: Settings, engine: Engine, keyring: Keyring, strava: Loopback) -> Engine:
    """A database with two athletes, as a restore brings it back."""
    two_whole_athletes(engine, keyring)
    PostgresTokenStore(engine, keyring).connect(grant(OTHER, 2), SCOPES)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO ops.database_identity (id, system_identifier, database_oid) VALUES (1, 4711, 1)"
                " ON CONFLICT (id) DO UPDATE SET system_identifier = 4711"
            )
        )
    return engine


def list_of(settings: Settings) -> Departures:
    keyring = Keyring.parse(settings.required("token_keys"))
    place = Folder(settings.erasures_location())
    return read_departures(keyring, [place.url]) if place.is_there() else Departures(keyring, [])


def check(engine: Engine) -> Passed:
    """All that the command does."""
    settings = load_settings()
    restore_check.begin(engine)
    list(restore_check.erase_departed(settings, engine, list_of(settings)))
    return restore_check.end(engine, restore_check.ask_for_all(settings, engine, lambda _, __: None))


def test_a_check_trusts_the_authorities_of_the_settings(
    restored: Engine, strava: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # To requests these go before what a session trusts.
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    certificate, key = make_certificate(tmp_path)
    strava.speak_tls(certificate, key)
    monkeypatch.setenv("STRAVA_API_URL", f"https://127.0.0.1:{strava.port}/api/v3")
    monkeypatch.setenv("STRAVA_CA_BUNDLE", certificate)
    assert check(restored).connected == [RIDER, OTHER]


def is_open(engine: Engine) -> bool:
    with engine.connect() as connection:
        return not are_calls_held(connection)


def depart(settings: Settings, engine: Engine, athlete: int, *, ago: timedelta, extent: Extent = Extent.ERASED) -> None:
    """Put an athlete on the list who left so long ago; negative: after the backup."""
    with engine.connect() as connection:
        moment = now(connection)
    note_departure(settings, athlete, moment - ago, extent)


def test_everybody_is_asked_for_once_and_then_calls_go(restored: Engine, strava: Loopback) -> None:
    with pytest.raises(RestoreUnchecked):
        open_client(load_settings(), restored, Lane.LIVE, timedelta()).get_athlete(RIDER)
    assert strava.asked == []
    assert check(restored) == Passed([RIDER, OTHER], [], [])
    assert sorted(tokens(strava)) == ["access-1", "access-2"]
    assert open_client(load_settings(), restored, Lane.LIVE, timedelta()).get_athlete(RIDER)["id"] == RIDER
    assert restore_check.why_needed(restored) is None


def test_a_token_that_is_dead_names_its_athlete_whose_data_stay(restored: Engine, strava: Loopback) -> None:
    strava.answer = answering({OTHER: UNAUTHORIZED})
    before = data_of(restored, OTHER)
    assert check(restored) == Passed([RIDER], [OTHER], [])
    assert data_of(restored, OTHER).items() >= {k: v for k, v in before.items() if k != "restore_checks"}.items()
    assert is_open(restored)


def test_who_left_after_the_backup_is_erased_again_without_a_call(
    settings: Settings, restored: Engine, strava: Loopback
) -> None:
    depart(settings, restored, RIDER, ago=timedelta(seconds=-1))
    assert check(restored) == Passed([OTHER], [], [RIDER])
    assert data_of(restored, RIDER) == {}
    assert tokens(strava) == ["access-2"]
    with restored.connect() as connection:
        left = connection.execute(text("SELECT state, dagster_task FROM ops.users WHERE athlete_id = 1001")).one()
    assert tuple(left) == ("revoked", "erase")


def test_who_left_and_let_the_data_be_kept_is_disconnected_again(settings: Settings, restored: Engine) -> None:
    depart(settings, restored, RIDER, ago=timedelta(seconds=-1), extent=Extent.DISCONNECTED)
    before = data_of(restored, RIDER)["activity_streams"]
    assert check(restored) == Passed([OTHER], [], [RIDER])
    assert data_of(restored, RIDER)["activity_streams"] == before > 0


def test_who_left_before_the_grant_that_the_backup_has_came_back(settings: Settings, restored: Engine) -> None:
    depart(settings, restored, RIDER, ago=timedelta(hours=1))
    assert check(restored) == Passed([RIDER, OTHER], [], [])


def test_data_that_were_kept_and_erased_later_go_again(settings: Settings, restored: Engine) -> None:
    begin_erasure(restored, RIDER, keep_data=True, actor=Actor.OPERATOR, cause="before the backup")
    depart(settings, restored, RIDER, ago=timedelta(seconds=-1))
    assert check(restored) == Passed([OTHER], [], [RIDER])
    assert data_of(restored, RIDER) == {}


def test_an_erasure_that_had_ended_before_the_backup_is_no_news(settings: Settings, restored: Engine) -> None:
    begin_erasure(restored, RIDER, keep_data=False, actor=Actor.OPERATOR, cause="before the backup")
    finish_erasure(settings, restored, RIDER)
    assert len(list_of(settings).entries) == 1
    assert check(restored) == Passed([OTHER], [], [])


def test_both_ways_to_leave_are_put_on_the_list(settings: Settings, engine: Engine, keyring: Keyring) -> None:
    two_whole_athletes(engine, keyring)
    disconnect(load_settings(), engine, RIDER, keep_data=True, actor=Actor.OPERATOR)
    begin_erasure(engine, OTHER, keep_data=False, actor=Actor.OPERATOR, cause="a test")
    assert list_of(settings).last_of(OTHER) is None
    finish_erasure(settings, engine, OTHER)
    found = {athlete: list_of(settings).last_of(athlete) for athlete in (RIDER, OTHER)}
    assert {athlete: left and left.extent for athlete, left in found.items()} == {
        RIDER: Extent.DISCONNECTED,
        OTHER: Extent.ERASED,
    }


def test_a_check_that_died_asks_nobody_twice(
    restored: Engine, strava: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """The process is gone."""

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(restore_check, "_outcome_of_refusal", die)
        strava.answer = answering({OTHER: UNAUTHORIZED})
        with pytest.raises(Killed):
            check(restored)
    assert not is_open(restored)
    assert check(restored) == Passed([RIDER], [OTHER], [])
    assert tokens(strava).count("access-1") == 1
    assert is_open(restored)


@pytest.mark.parametrize(
    ("unlike", "refresh", "error"),
    [
        (profile(RIDER, **USED_UP), DEAD, QuotaExhausted),
        (INACTIVE, DEAD, AppInactive),
        (UNAUTHORIZED, OURS_REFUSED, ClientRefused),
    ],
    ids=["quota", "app", "secret"],
)
def test_what_would_stop_the_next_call_stops_the_check_and_holds_all_others(
    restored: Engine, strava: Loopback, right_time: None, unlike: Answer, refresh: Answer, error: type[Exception]
) -> None:
    strava.answer = answering({RIDER: unlike}, refresh)
    with pytest.raises(error):
        check(restored)
    assert not is_open(restored)
    with restored.connect() as connection:
        state = connection.execute(text("SELECT DISTINCT state FROM ops.users")).scalars().all()
    assert state == ["active"]


def test_an_athlete_of_whom_strava_tells_nothing_is_asked_for_again(restored: Engine, strava: Loopback) -> None:
    strava.answer = answering({OTHER: ODD})
    passed = check(restored)
    assert (passed.connected, list(passed.unasked), passed.is_whole) == ([RIDER], [OTHER], False)
    assert not is_open(restored)
    strava.answer = answering({})
    assert check(restored).is_whole
    assert tokens(strava).count("access-1") == 1


def test_the_first_answer_tells_what_was_used_since_before_anybody_else_calls(
    restored: Engine, strava: Loopback, right_time: None
) -> None:
    used = {"X_ReadRateLimit_Limit": "100,1000", "X_ReadRateLimit_Usage": "40,990"}
    strava.answer = answering({athlete: profile(athlete, **used) for athlete in (RIDER, OTHER)})
    with pytest.raises(QuotaExhausted):
        # Of the day's last calls the live lane keeps its reserve.
        check(restored)
    with restored.connect() as connection:
        foreign = connection.execute(text("SELECT max(read_foreign) FROM ops.quota_windows")).scalar()
    assert foreign == 989


BROUGHT_BACK = """
INSERT INTO ops.operator_sessions (secret_hash, kind, proof, expires_at)
    VALUES ('s', 'session', 'p', ops.clock() + interval '1 day');
INSERT INTO ops.invites (secret_hash, proof, expires_at) VALUES ('i', 'p', ops.clock() + interval '1 day');
INSERT INTO ops.oauth_states (state_hash, browser_hash, expires_at)
    VALUES ('o', 'b', ops.clock() + interval '1 day');
INSERT INTO ops.notifications (activity_id, kind, athlete_id, state, next_try_at)
    VALUES (1, 'ride_summary', 1001, 'pending', ops.clock());
UPDATE ops.import_months SET lake_at = ops.clock(), lake_outdated_at = NULL;
INSERT INTO ops.app_status (id, clock_offset_s) VALUES (1, 3) ON CONFLICT (id) DO UPDATE SET clock_offset_s = 3;
"""
LEFT = """
SELECT (SELECT count(*) FROM ops.operator_sessions), (SELECT count(*) FROM ops.invites),
    (SELECT count(*) FROM ops.oauth_states), (SELECT clock_offset_s FROM ops.app_status),
    (SELECT count(*) FROM ops.import_months WHERE lake_outdated_at IS NULL),
    (SELECT state FROM ops.notifications WHERE activity_id = 1)
"""


def test_what_the_backup_brings_back_to_life_is_ended(restored: Engine) -> None:
    with restored.begin() as connection:
        for statement in BROUGHT_BACK.split(";\n")[:-1]:
            connection.execute(text(statement))
    undone = restore_check.begin(restored)
    assert undone is not None
    # Each of the athletes' four activities has its mail as well.
    assert (undone.sessions, undone.invites, undone.mails) == (1, 1, 5)
    assert undone.lake_months > 0
    assert restore_check.begin(restored) is None
    with restored.connect() as connection:
        assert tuple(connection.execute(text(LEFT)).one()) == (0, 0, 0, None, 0, "skipped")


def test_a_backup_of_an_unfinished_check_begins_anew_elsewhere(restored: Engine, strava: Loopback) -> None:
    strava.answer = answering({OTHER: ODD})
    check(restored)
    with restored.begin() as connection:
        connection.execute(text("UPDATE ops.database_identity SET system_identifier = 4712"))
    strava.answer = answering({})
    assert check(restored) == Passed([RIDER, OTHER], [], [])
    assert tokens(strava).count("access-1") == 2


def test_a_restore_into_the_same_database_is_told(restored: Engine) -> None:
    check(restored)
    assert is_open(restored)
    restore_check.begin(restored, anew=True)
    assert not is_open(restored)
    assert check(restored).is_whole


def test_a_move_in_which_nothing_happened_asks_nobody(settings: Settings, restored: Engine, strava: Loopback) -> None:
    restore_check.begin(restored)
    list(restore_check.erase_departed(settings, restored, list_of(settings)))
    restore_check.accept_all(restored)
    assert restore_check.end(restored, {}) == Passed([RIDER, OTHER], [], [])
    assert strava.asked == []
    assert is_open(restored)
