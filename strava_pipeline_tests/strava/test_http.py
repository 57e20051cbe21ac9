from __future__ import annotations

import gzip
import logging
import socket
import time
import traceback
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import repeat
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.errors import RetriableStravaError
from strava_pipeline.strava import http
from strava_pipeline.strava.http import Answer, parse_json, send
from strava_pipeline.strava.quota.clock import UNKNOWN_MARGIN
from strava_pipeline_tests.strava.loopback import LATE_SECONDS, Loopback, Raw, Reply, reply

BEARER = {"Authorization": "Bearer canary-token"}


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
    return port


def test_an_answer_holds_status_headers_and_body(strava: Loopback, session: requests.Session) -> None:
    strava.answers(reply({"id": 7}, X_RateLimit_Limit="200,2000", Retry_After="17"))
    answer = send(session, "GET", f"{strava.url}/athlete", what="GET /athlete", headers=BEARER, query={"page": "2"})
    assert (answer.status, answer.body) == (200, b'{"id": 7}')
    assert answer.headers["x-ratelimit-LIMIT"] == "200,2000"
    assert answer.server_time == datetime(2026, 11, 3, 10, 20, 30, tzinfo=UTC)
    assert answer.retry_after == timedelta(seconds=17)
    assert 0 < answer.duration_ms < 5_000
    assert strava.asked[0].headers["Authorization"] == "Bearer canary-token"
    assert strava.asked[0].query == {"page": "2"}


def test_a_connection_serves_again_after_an_answer(strava: Loopback, session: requests.Session) -> None:
    strava.answers(reply([1]), reply([2]))
    bodies = [send(session, "GET", strava.url, what="GET").body for _ in range(3)]
    assert bodies == [b"[1]", b"[2]", b"[2]"]


def test_a_redirect_is_not_followed_and_the_bearer_goes_nowhere(strava: Loopback, session: requests.Session) -> None:
    with Loopback() as elsewhere:
        strava.answers(Reply(302, headers={"Location": f"{elsewhere.url}/steal"}))
        assert send(session, "GET", strava.url, what="GET /athlete", headers=BEARER).status == 302
        assert elsewhere.asked == []
    assert len(strava.asked) == 1


def test_netrc_does_not_replace_the_bearer(
    strava: Loopback, session: requests.Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    send(session, "GET", strava.url, what="GET", headers=BEARER)
    send(session, "POST", strava.url, what="POST", form={"code": "1"})
    assert [asked.headers.get("Authorization") for asked in strava.asked] == ["Bearer canary-token", None]


def test_cookies_of_one_athlete_do_not_travel_with_the_next(strava: Loopback, session: requests.Session) -> None:
    strava.answers(reply({}, Set_Cookie="_session=athlete-1; Path=/"))
    send(session, "GET", strava.url, what="GET")
    send(session, "GET", strava.url, what="GET")
    assert "Cookie" not in strava.asked[1].headers


def test_a_body_beyond_the_cap_is_not_read(
    strava: Loopback, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "BODY_CAP_BYTES", 1_000)
    strava.answers(Reply(body=b"x" * 1_000), Reply(body=b"x" * 1_001))
    assert len(send(session, "GET", strava.url, what="GET").body) == 1_000
    with pytest.raises(RetriableStravaError, match="larger than 1000 bytes") as caught:
        send(session, "GET", strava.url, what="GET")
    assert caught.value.status == 200


def test_a_bomb_is_measured_unpacked_and_never_held_whole(
    strava: Loopback, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "BODY_CAP_BYTES", 1_000_000)
    bomb = gzip.compress(b"0" * 50_000_000)
    strava.answers(Reply(body=bomb, headers={"Content-Encoding": "gzip"}))
    tracemalloc.start()
    with pytest.raises(RetriableStravaError, match="larger than"):
        send(session, "GET", strava.url, what="GET")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_packed_answers_are_read(strava: Loopback, session: requests.Session) -> None:
    strava.answers(Reply(body=gzip.compress(b'{"id": 1}'), headers={"Content-Encoding": "gzip"}))
    assert send(session, "GET", strava.url, what="GET").body == b'{"id": 1}'


HEAD = b"HTTP/1.1 200 OK\r\n"


def dripped(head: bytes, piece: bytes) -> Raw:
    def pieces() -> Iterator[bytes]:
        yield head
        yield from repeat(piece)

    return Raw(pieces)


SLOW = {
    "nothing at all": Raw(lambda: iter(())),
    "status line": dripped(b"HTTP/1.1 200 ", b"O"),
    "header line": dripped(HEAD + b"X-Long: ", b"x"),
    "many headers": dripped(HEAD, b"X: y\r\n"),
    "body": dripped(HEAD + b"Content-Length: 65536\r\n\r\n", b"x"),
    "body without length": dripped(HEAD + b"Connection: close\r\n\r\n", b"x"),
    "chunks": dripped(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "chunk size": dripped(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
    "silence in the body": Raw(lambda: iter([HEAD + b"Content-Length: 10\r\n\r\nx"])),
}


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW.keys())
def test_the_deadline_is_one_for_the_whole_answer(
    strava: Loopback, session: requests.Session, short_deadline: float, slow: Raw
) -> None:
    strava.answers(slow)
    started = time.monotonic()
    with pytest.raises(RetriableStravaError, match="no whole answer in time"):
        send(session, "GET", strava.url, what="GET", headers=BEARER)
    assert short_deadline * 0.9 < time.monotonic() - started < short_deadline + LATE_SECONDS


def test_the_deadline_begins_anew_on_a_kept_connection(
    strava: Loopback, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    strava.answers(Reply(), SLOW["body"])
    assert send(session, "GET", strava.url, what="GET").status == 200
    monkeypatch.setattr(http, "DEADLINE_SECONDS", 0.4)
    started = time.monotonic()
    with pytest.raises(RetriableStravaError, match="no whole answer in time"):
        send(session, "GET", strava.url, what="GET")
    assert time.monotonic() - started > 0.4 * 0.9


CUT = {
    "length not reached": HEAD + b"Content-Length: 100\r\n\r\n{",
    "chunks not ended": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    "chunk not ended": HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{",
    "no chunk size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "nothing": b"",
    "not HTTP": b"SSH-2.0-OpenSSH\r\n",
    "too many headers": HEAD + b"X: y\r\n" * 200 + b"\r\n",
    "no gzip": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
}


@pytest.mark.parametrize("wire", CUT.values(), ids=CUT.keys())
def test_a_broken_answer_may_be_asked_for_again(strava: Loopback, session: requests.Session, wire: bytes) -> None:
    strava.answers(Raw(lambda: iter([wire]), hang_up=True))
    with pytest.raises(RetriableStravaError, match="cannot be reached") as caught:
        send(session, "GET", strava.url, what="GET /athlete")
    assert caught.value.status is None


def test_an_answer_cut_in_its_headers_is_no_empty_success(strava: Loopback, session: requests.Session) -> None:
    strava.answers(Raw(lambda: iter([HEAD + b"Content-Le"]), hang_up=True))
    answer = send(session, "GET", strava.url, what="GET")
    with pytest.raises(ValueError):  # noqa: PT011  Python's own message
        parse_json(answer.body)


def test_a_refused_connection_may_be_tried_again(session: requests.Session, closed_port: int) -> None:
    with pytest.raises(RetriableStravaError, match=r"GET /x: Strava cannot be reached: no connection"):
        send(session, "GET", f"http://127.0.0.1:{closed_port}/x", what="GET /x")


def test_secrets_stay_out_of_messages_tracebacks_and_logs(
    strava: Loopback, session: requests.Session, closed_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    # Another library of the process may have set another level.
    caplog.set_level(logging.DEBUG, "urllib3")
    caplog.set_level(logging.DEBUG)
    form = {"client_secret": "canary-secret", "refresh_token": "canary-refresh"}
    send(session, "POST", strava.url, what="refresh", headers=BEARER, form=form)
    for url in (f"http://127.0.0.1:{closed_port}", "http://127.0.0.1:bad-port"):
        with pytest.raises(RetriableStravaError) as caught:
            send(session, "GET", url, what="list", headers=BEARER, query=form)
        assert "canary" not in "".join(traceback.format_exception(caught.value))
    assert caplog.records
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        b'{"a": ',
        b'{"a": NaN}',
        b"[Infinity, -Infinity]",
        b"[1e999]",
        b"\xff\xfe{}",
        b"9" * 5_000,
        b"[" * 100_000,
    ],
)
def test_what_is_no_json_is_not_read(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  Python's own message
        parse_json(body)


def test_large_ids_stay_exact() -> None:
    assert parse_json(b"[7306287690309388191, 1.5, 9007199254740993]") == [
        7_306_287_690_309_388_191,
        1.5,
        9_007_199_254_740_993,
    ]


def answer_with(**headers: str) -> Answer:
    return Answer(200, {name.replace("_", "-"): value for name, value in headers.items()}, b"", 1.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tue, 03 Nov 2026 10:20:30 GMT", datetime(2026, 11, 3, 10, 20, 30, tzinfo=UTC)),
        ("Tue, 03 Nov 2026 12:20:30 +0200", datetime(2026, 11, 3, 10, 20, 30, tzinfo=UTC)),
        ("Tue, 03 Nov 2026 10:20:30", None),
        ("Tue, 03 Nov 2026 10:20:30 -0000", None),
        ("Tue, 03 Nov 2026 10:20:30 +9999", None),
        ("Tue, 03 Nov 2026 10:20:30 +99999999999999999999", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("x, 1 Jan 999999999999999999999 00:00:00 GMT", None),
        ("Tue, 03 Nov 2026 10:20:60 GMT", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_garbled_date_is_no_date(text: str, expected: datetime | None) -> None:
    assert answer_with(Date=text).server_time == expected


def test_a_missing_date_is_no_date() -> None:
    assert answer_with().server_time is None


@given(
    st.text() | st.from_regex(r"\w{3}, \d{1,3} (Jan|Feb) \d{1,6} \d\d:\d\d:\d\d( [+-]\d{1,9}| GMT)?", fullmatch=True)
)
def test_any_date_can_be_reckoned_with(text: str) -> None:
    told = answer_with(Date=text).server_time
    assert told is None or (told - UNKNOWN_MARGIN).tzinfo is not None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("-1", None),
        ("1.5", None),
        ("1234567", None),
        ("\u0663", None),
        ("Tue, 03 Nov 2026 10:20:30 GMT", None),
        ("", None),
    ],
)
def test_retry_after_counts_only_as_whole_seconds(text: str, seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert answer_with(Retry_After=text).retry_after == expected
