"""Whatever becomes of a grant at Strava when an athlete is disconnected, the audit of tokens tells it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, select, update

from strava_pipeline.errors import UnknownAthlete
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.sync import disconnect as disconnecting
from strava_pipeline.sync.access import open_tokens
from strava_pipeline.sync.disconnect import Disconnected, disconnect
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.schema.grant_tables import token_audit, users
from strava_pipeline_tests.strava.loopback import Loopback, Reply, reply

RIDER = 1001
REFUSED = {
    "message": "Forbidden",
    "errors": [
        {"resource": "Application", "field": "client_id", "code": "invalid"},
        {"resource": "Application", "field": "", "code": "suspended"},
    ],
}
REFUSED_TOLD = "Forbidden (Application client_id invalid; Application suspended)"
EXPIRED = {
    "message": "Authorization Error",
    "errors": [{"resource": "Athlete", "field": "access_token", "code": "invalid"}],
}
DEAD = {"message": "Bad Request", "errors": [{"resource": "RefreshToken", "field": "refresh_token", "code": "invalid"}]}
ERASED = ("erase", "ok", "disconnected by hand")
ERASED_ALONE = ("erase", "ok", "disconnected by hand; the grant was not ended at Strava")


@pytest.fixture
def strava(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with Loopback() as loopback:
        monkeypatch.setenv("STRAVA_OAUTH_URL", f"{loopback.url}/oauth")
        yield loopback


@pytest.fixture
def rider(settings: Settings, engine: Engine) -> None:
    grant = TokenGrant(Secret("canary-access"), Secret("canary-refresh"), None, {"id": RIDER})
    open_tokens(settings, engine).connect(grant, ["read", "activity:read_all"])


def leave(engine: Engine) -> Disconnected:
    return disconnect(load_settings(), engine, RIDER, keep_data=False, actor=Actor.OPERATOR)


def audited(engine: Engine) -> list[tuple[str, str, str | None]]:
    """What the audit says since the athlete connected."""
    with engine.connect() as connection:
        rows = connection.execute(select(token_audit).order_by(token_audit.c.id)).all()
    assert (rows[0].operation, rows[0].outcome) == ("exchange", "ok")
    assert {row.athlete_id for row in rows} == {RIDER}
    assert "canary" not in str(rows)
    return [(row.operation, row.outcome, row.detail) for row in rows[1:]]


def test_a_grant_that_ended_at_strava(rider: None, engine: Engine, strava: Loopback) -> None:
    strava.answers(reply({}))
    assert leave(engine).left_at_strava is None
    assert audited(engine) == [("revoke", "ok", None), ERASED]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (
            [reply(REFUSED, 403)],
            f"Strava refuses STRAVA_CLIENT_ID or STRAVA_CLIENT_SECRET ({REFUSED_TOLD})",
        ),
        (
            [reply({}, 404), reply(REFUSED, 403)],
            f"Strava answered 403 {REFUSED_TOLD}",
        ),
        (
            [
                reply(
                    {"message": "Forbidden", "errors": [{"resource": "AccessToken", "field": "x", "code": "missing"}]},
                    403,
                )
            ],
            "Strava answered 403 Forbidden (AccessToken x missing): connect again and allow it",
        ),
        ([Reply(503, b"<html>")] * disconnecting.ATTEMPTS, "Strava answered 503 no fault body"),
        (
            [Reply(200, b"<html>")] * disconnecting.ATTEMPTS,
            "the answer is not a revocation (200, no content type): a proxy or gateway in between?",
        ),
    ],
    ids=["refused", "refused by deauthorize", "without permission", "away all the while", "a page all the while"],
)
def test_a_grant_that_strava_does_not_end_is_told_in_its_words(
    rider: None, engine: Engine, strava: Loopback, answers: list[Reply], words: str
) -> None:
    strava.answers(*answers)
    told = leave(engine).left_at_strava
    assert told == f"revocation of a grant: {words}"
    assert audited(engine) == [("revoke", "failed", told), ERASED_ALONE]


def test_a_grant_that_had_ended_before(rider: None, engine: Engine, strava: Loopback) -> None:
    strava.answers(reply({}, 404), reply(EXPIRED, 401), reply(DEAD, 400))
    assert leave(engine).left_at_strava is None
    refresh, (operation, outcome, detail), erase = audited(engine)
    assert (refresh[:2], erase) == (("refresh", "failed"), ERASED)
    assert (operation, outcome) == ("revoke", "ended before")
    assert "RefreshToken refresh_token invalid" in str(detail)


def test_a_grant_known_to_be_dead_is_not_asked_about(rider: None, engine: Engine, strava: Loopback) -> None:
    with engine.begin() as connection:
        connection.execute(update(users).values(state="needs_reauth"))
    assert leave(engine).left_at_strava is None
    assert [entry[:2] for entry in audited(engine)] == [("revoke", "ended before"), ("erase", "ok")]
    assert strava.asked == []


def test_tokens_that_nobody_can_read_leave_the_grant_at_strava(
    rider: None, engine: Engine, strava: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STRAVA_TOKEN_KEYS")
    assert "STRAVA_TOKEN_KEYS" in str(leave(engine).left_at_strava)
    assert [entry[:2] for entry in audited(engine)] == [("revoke", "failed"), ("erase", "ok")]
    assert strava.asked == []


class Killed(BaseException):
    """The process is gone."""


def test_a_process_that_dies_after_strava_answered_has_told_it(
    rider: None, engine: Engine, strava: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise Killed

    strava.answers(reply({}), reply({}))
    with monkeypatch.context() as patch:
        patch.setattr(disconnecting, "begin_erasure", die)
        with pytest.raises(Killed):
            leave(engine)
    assert audited(engine) == [("revoke", "ok", None)]
    leave(engine)
    assert audited(engine) == [("revoke", "ok", None), ("revoke", "ok", None), ERASED]


def test_once_more_asks_and_tells_nothing(
    rider: None, engine: Engine, strava: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    strava.answers(reply({}))
    leave(engine)
    before = audited(engine)
    # Nothing is left to read: it needs no key either.
    monkeypatch.delenv("STRAVA_TOKEN_KEYS")
    assert leave(engine).left_at_strava is None
    assert audited(engine) == before
    assert len(strava.asked) == 1


def test_a_stranger_leaves_no_trace(settings: Settings, engine: Engine, strava: Loopback) -> None:
    with pytest.raises(UnknownAthlete):
        leave(engine)
    with engine.connect() as connection:
        assert connection.execute(select(token_audit)).all() == []
    assert strava.asked == []
