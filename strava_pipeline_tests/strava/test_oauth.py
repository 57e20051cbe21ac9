from __future__ import annotations

import logging
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.errors import (
    AppInactive,
    ClientRefused,
    ConfigurationError,
    NeedsReauthorization,
    QuotaExhausted,
    RejectedRequest,
    RetriableStravaError,
    StravaError,
)
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings
from strava_pipeline.strava.oauth import (
    WANTED_SCOPES,
    TokenGrant,
    authorize_url,
    exchange_code,
    parse_redirect,
    refresh,
    revoke,
)
from strava_pipeline_tests.strava.loopback import Loopback, Raw, Reply, reply

GRANT = {
    "token_type": "Bearer",
    "access_token": "canary-access",
    "refresh_token": "canary-refresh",
    "expires_at": 1_793_702_430,
    "expires_in": 21_600,
}
EXPIRES = datetime.fromtimestamp(1_793_702_430, UTC)


def fault(status: int, resource: str, field: str, code: str) -> Reply:
    return reply({"message": "m", "errors": [{"resource": resource, "field": field, "code": code}]}, status)


def test_a_refresh_sends_everything_in_its_body(app: Settings, strava: Loopback, session: requests.Session) -> None:
    strava.answers(reply(GRANT))
    assert refresh(app, session, Secret("old-refresh")) == TokenGrant(
        Secret("canary-access"), Secret("canary-refresh"), EXPIRES
    )
    [asked] = strava.asked
    assert (asked.method, asked.target) == ("POST", "/oauth/token")
    assert asked.form == {
        "client_id": "4711",
        "client_secret": "canary-client-secret",
        "grant_type": "refresh_token",
        "refresh_token": "old-refresh",
    }


def test_a_code_exchange_tells_the_athlete(app: Settings, strava: Loopback, session: requests.Session) -> None:
    strava.answers(reply(GRANT | {"athlete": {"id": 4_000_000_101, "firstname": "Ada"}}))
    grant = exchange_code(app, session, "the-code")
    assert grant.athlete == {"id": 4_000_000_101, "firstname": "Ada"}
    assert strava.asked[0].form["grant_type"] == "authorization_code"
    assert strava.asked[0].form["code"] == "the-code"


@pytest.mark.parametrize("athlete", [None, [], {}, {"id": "7"}, {"id": True}, {"id": 7.0}])
def test_an_exchange_without_an_athlete_is_refused(
    app: Settings, strava: Loopback, session: requests.Session, athlete: object
) -> None:
    strava.answers(reply(GRANT | {"athlete": athlete}))
    with pytest.raises(RejectedRequest, match="names no athlete"):
        exchange_code(app, session, "the-code")


def test_only_strava_saying_so_makes_a_grant_dead(app: Settings, strava: Loopback, session: requests.Session) -> None:
    strava.answers(fault(400, "RefreshToken", "refresh_token", "invalid"))
    with pytest.raises(NeedsReauthorization, match="connect again"):
        refresh(app, session, Secret("old-refresh"))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (fault(400, "Application", "client_id", "invalid"), ClientRefused),
        (fault(401, "Application", "client_secret", "invalid"), ClientRefused),
        (fault(401, "Application", "client_id", "missing"), ClientRefused),
        (fault(404, "resource", "path", "invalid"), ClientRefused),
        (fault(400, "RefreshToken", "refresh_token", "missing"), ClientRefused),
        (
            reply(
                {
                    "message": "m",
                    "errors": [
                        {"resource": "RefreshToken", "field": "refresh_token", "code": "invalid"},
                        {"resource": "Application", "field": "client_id", "code": "invalid"},
                    ],
                },
                400,
            ),
            ClientRefused,
        ),
        (fault(403, "Application", "Status", "Inactive"), AppInactive),
        (fault(403, "Application", "connected athletes", "exceeded"), ClientRefused),
        (fault(429, "Application", "overall rate limit", "exceeded"), QuotaExhausted),
        (fault(403, "Application", "rate limit", "exceeded"), QuotaExhausted),
        (Reply(400, b"<html>RefreshToken invalid</html>"), RetriableStravaError),
        (reply({"message": "RefreshToken invalid"}, 400), RetriableStravaError),
        (Reply(401, b""), RetriableStravaError),
        (fault(408, "RefreshToken", "refresh_token", "invalid"), RetriableStravaError),
        (fault(200, "RefreshToken", "refresh_token", "invalid"), RetriableStravaError),
        (Reply(500, b"<html>"), RetriableStravaError),
        (Reply(503, b""), RetriableStravaError),
        (Reply(302, b"", {"Location": "/login"}), RetriableStravaError),
        (Reply(200, b"<html>"), RetriableStravaError),
        (Reply(200, b""), RetriableStravaError),
        (Raw(lambda: iter([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]), hang_up=True), RetriableStravaError),
    ],
)
def test_nothing_else_makes_a_grant_dead(
    app: Settings,
    strava: Loopback,
    session: requests.Session,
    answer: Reply | Raw,
    expected: type[StravaError],
) -> None:
    strava.answers(answer)
    with pytest.raises(expected) as caught:
        refresh(app, session, Secret("old-refresh"))
    assert not isinstance(caught.value, NeedsReauthorization)
    assert len(strava.asked) == 1


def test_silence_does_not_make_a_grant_dead(
    app: Settings, strava: Loopback, session: requests.Session, short_deadline: float
) -> None:
    strava.answers(Raw(lambda: iter(())))
    with pytest.raises(RetriableStravaError, match="in time"):
        refresh(app, session, Secret("old-refresh"))


def test_a_wrong_client_is_told_apart(app: Settings, strava: Loopback, session: requests.Session) -> None:
    strava.answers(fault(401, "Application", "client_secret", "invalid"))
    with pytest.raises(ClientRefused, match="STRAVA_CLIENT_SECRET") as caught:
        refresh(app, session, Secret("old-refresh"))
    assert caught.value.status == 401
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": " "},
        {"access_token": 7},
        {"refresh_token": ["a"]},
        {"refresh_token": "two\r\nlines"},
        {"access_token": "canary-é"},
        {"access_token": "canary-\ud800"},
    ],
)
def test_an_answer_without_usable_tokens_is_no_grant(
    app: Settings, strava: Loopback, session: requests.Session, changes: dict[str, object]
) -> None:
    strava.answers(reply(GRANT | changes))
    with pytest.raises(RetriableStravaError, match="no usable tokens") as caught:
        refresh(app, session, Secret("old-refresh"))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("expires_at", [None, "1793702430", 1e17, 1e300, 10**400, 253_402_300_800, []])
def test_tokens_are_kept_though_their_end_is_unreadable(
    app: Settings, strava: Loopback, session: requests.Session, expires_at: object
) -> None:
    """The refresh token that was sent may be dead by now: these are the only ones."""
    strava.answers(reply(GRANT | {"expires_at": expires_at}))
    issued = TokenGrant(Secret("canary-access"), Secret("canary-refresh"), None)
    assert refresh(app, session, Secret("old-refresh")) == issued


@pytest.mark.parametrize("body", [[], None, "text", 7, {}])
def test_an_answer_of_another_shape_is_no_grant(
    app: Settings, strava: Loopback, session: requests.Session, body: object
) -> None:
    strava.answers(reply(body))
    with pytest.raises(RetriableStravaError, match="no usable tokens"):
        refresh(app, session, Secret("old-refresh"))


def test_tokens_show_in_no_repr_and_no_log(
    app: Settings, strava: Loopback, session: requests.Session, caplog: pytest.LogCaptureFixture
) -> None:
    # Another library of the process may have set another level.
    caplog.set_level(logging.DEBUG, "urllib3")
    caplog.set_level(logging.DEBUG)
    strava.answers(reply(GRANT | {"athlete": {"id": 1, "firstname": "canary-name"}}))
    grant = exchange_code(app, session, "canary-code")
    assert "canary" not in repr(grant)
    assert caplog.records
    assert "canary" not in caplog.text


def test_an_app_without_credentials_is_told_what_to_set(session: requests.Session) -> None:
    with pytest.raises(ConfigurationError, match="STRAVA_CLIENT_ID is not set"):
        refresh(Settings(), session, Secret("old-refresh"))


PAIR = TokenGrant(Secret("canary-access"), Secret("canary-refresh"), EXPIRES)
NO_SUCH_PAGE = Reply(404, b"<html>")


@pytest.mark.parametrize("answer", [b"", b"\n", b"{}", b'{"access_token": "canary-access"}'])
def test_a_grant_is_revoked_with_the_apps_credentials_in_the_header(
    app: Settings, strava: Loopback, session: requests.Session, answer: bytes
) -> None:
    strava.answers(Reply(200, answer))
    revoke(app, session, PAIR)
    [asked] = strava.asked
    assert (asked.method, asked.target) == ("POST", "/oauth/revoke")
    assert asked.headers["Authorization"] == requests.auth._basic_auth_str("4711", "canary-client-secret")
    assert asked.form == {"token": "canary-refresh"}


def test_a_base_without_revoke_gets_the_access_token_by_deauthorize(
    app: Settings, strava: Loopback, session: requests.Session
) -> None:
    strava.answers(NO_SUCH_PAGE, reply({"access_token": "canary-access"}))
    revoke(app, session, PAIR)
    assert [asked.target for asked in strava.asked] == ["/oauth/revoke", "/oauth/deauthorize"]
    assert strava.asked[1].form == {"access_token": "canary-access"}
    assert "Authorization" not in strava.asked[1].headers


@pytest.mark.parametrize(
    ("answers", "expected", "message"),
    [
        ([Reply(503, b"")], RetriableStravaError, "503"),
        ([Reply(500, b"<html>")], RetriableStravaError, "500"),
        ([fault(429, "Application", "overall rate limit", "exceeded")], QuotaExhausted, "429"),
        ([fault(401, "Application", "client_secret", "invalid")], ClientRefused, "STRAVA_CLIENT_SECRET"),
        ([fault(403, "Application", "Status", "Inactive")], AppInactive, "switched off"),
        ([NO_SUCH_PAGE, Reply(503, b"")], RetriableStravaError, "503"),
        ([NO_SUCH_PAGE, fault(401, "Athlete", "access_token", "invalid")], NeedsReauthorization, "401"),
        ([NO_SUCH_PAGE, NO_SUCH_PAGE], RetriableStravaError, "404"),
        ([Reply(401, b"<html>")], RetriableStravaError, "not Strava's"),
        ([Reply(200, b"<html>")], RetriableStravaError, "not a revocation"),
        ([reply([])], RetriableStravaError, "not a revocation"),
        ([reply({"message": "Not Found"})], RetriableStravaError, "not a revocation"),
        ([NO_SUCH_PAGE, reply({"status": "ok"})], RetriableStravaError, "not a revocation"),
        ([reply({"message": "Forbidden", "errors": []})], RetriableStravaError, "200 Forbidden"),
        ([Reply(302, b"", {"Location": "/login"})], RetriableStravaError, "not followed"),
        ([NO_SUCH_PAGE, Reply(200, b"<html>")], RetriableStravaError, "not a revocation"),
        ([NO_SUCH_PAGE, Reply(401, b"<html>")], RetriableStravaError, "not Strava's"),
    ],
)
def test_a_grant_that_could_not_be_ended_is_told_with_its_reason(
    app: Settings,
    strava: Loopback,
    session: requests.Session,
    answers: list[Reply],
    expected: type[StravaError],
    message: str,
) -> None:
    strava.answers(*answers)
    with pytest.raises(expected, match=message) as caught:
        revoke(app, session, PAIR)
    assert len(strava.asked) == len(answers)
    assert "canary" not in str(caught.value)


def test_the_link_to_consent_asks_for_what_is_wanted(app: Settings) -> None:
    address = urlsplit(authorize_url(app, "http://localhost/done"))
    assert f"{address.scheme}://{address.netloc}{address.path}" == f"{app.oauth_url}/authorize"
    assert parse_qs(address.query) == {
        "client_id": ["4711"],
        "redirect_uri": ["http://localhost/done"],
        "response_type": ["code"],
        "approval_prompt": ["auto"],
        "scope": ["read,activity:read_all,profile:read_all"],
    }


@pytest.mark.parametrize(
    ("pasted", "code", "scopes"),
    [
        ("abc123", "abc123", WANTED_SCOPES),
        ("  abc123\n", "abc123", WANTED_SCOPES),
        (
            "http://localhost/?state=&code=abc&scope=read,activity:read",
            "abc",
            ("read", "activity:read"),
        ),
        ("http://localhost/?code=abc&scope=read%2Cactivity%3Aread_all", "abc", ("read", "activity:read_all")),
        (" http://localhost/?code=a%2Bb ", "a+b", WANTED_SCOPES),
    ],
)
def test_code_and_scopes_are_found_in_what_was_pasted(pasted: str, code: str, scopes: tuple[str, ...]) -> None:
    assert parse_redirect(pasted) == (code, scopes)


@pytest.mark.parametrize(
    ("pasted", "message"),
    [
        ("http://localhost/?state=&error=access_denied", "connected no athlete: 'access_denied'"),
        ("https://www.strava.com/oauth/authorize?client_id=1", "no authorization code"),
        ("http://localhost/?code=", "no authorization code"),
        ("http://[", "no authorization code"),
        ("a\0b", "no authorization code of Strava's"),
        ("a b", "no authorization code of Strava's"),
        ("c" * 257, "no authorization code of Strava's"),
        ("http://localhost/?code=a%00", "no authorization code of Strava's"),
        ("http://localhost/?code=a&scope=read%00", "no permissions of Strava's"),
        (f"http://localhost/?code=a&scope=read,{'x' * 14_000}", "no permissions of Strava's"),
        ("http://localhost/?code=a&scope=activity:write", "nothing was allowed"),
    ],
)
def test_an_address_without_a_code_is_not_taken_for_one(pasted: str, message: str) -> None:
    with pytest.raises(RejectedRequest, match=message):
        parse_redirect(pasted)


@given(st.text() | st.text().map("http://localhost/?".__add__))
def test_anything_pasted_is_a_code_or_refused(pasted: str) -> None:
    try:
        code, scopes = parse_redirect(pasted)
    except RejectedRequest:
        return
    assert isinstance(code, str)
    assert scopes
