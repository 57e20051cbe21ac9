"""Strava behind a proxy, and under a certificate of a private authority."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import pytest
import requests

from strava_pipeline.errors import RetriableStravaError
from strava_pipeline.redaction import redact
from strava_pipeline.strava import http
from strava_pipeline.strava.http import new_session, send
from strava_pipeline_tests.certificates import make_certificate
from strava_pipeline_tests.connect_proxy import connect_proxy
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.strava.loopback import LATE_SECONDS, Loopback, Raw, Reply

HOST = "strava.example"
URL = f"https://{HOST}/api/v3/athlete"
BEARER = {"Authorization": "Bearer canary-token"}
LOGIN = "someone:canary-of-a-proxy"


@pytest.fixture
def authority(strava: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the authority for the server, which now speaks TLS as HOST; the environment names no proxy yet."""
    for name in ("https_proxy", "all_proxy", "no_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    certificate, key = make_certificate(tmp_path, HOST)
    strava.speak_tls(certificate, key)
    return Path(certificate)


@pytest.fixture
def session(authority: Path) -> Iterator[requests.Session]:
    with new_session(authority) as session:
        yield session


def reached(session: requests.Session) -> int:
    return send(session, "GET", URL, what="GET /athlete", headers=BEARER).status


def test_strava_is_reached_through_a_proxy_that_reads_nothing(
    strava: Loopback, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect_proxy([HOST], strava.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert [reached(session) for _ in range(2)] == [200, 200]
    (asked,) = proxy.asked
    assert asked.startswith(f"CONNECT {HOST}:443 HTTP/1.")
    assert "canary" not in asked
    assert strava.bearers == ["canary-token"] * 2
    assert not any("proxy" in name.lower() for name in strava.asked[0].headers)


def test_the_login_in_a_proxys_address_is_for_the_proxy_alone(
    strava: Loopback, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect_proxy([HOST], strava.port, LOGIN) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert reached(session) == 200
        assert "Proxy-Authorization: Basic " in proxy.asked[0]
        assert strava.asked[0].headers["Authorization"] == "Bearer canary-token"
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("canary", "another"))
        with pytest.raises(RetriableStravaError) as refused:
            reached(session)
    assert str(refused.value) == (
        "GET /athlete: Strava cannot be reached: the proxy asks for another login (407),"
        f" through the proxy {proxy.address}"
    )


def test_a_redirect_is_not_followed_through_a_proxy(
    strava: Loopback, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    strava.answers(Reply(302, headers={"Location": "https://elsewhere.example/steal"}))
    with connect_proxy([HOST, "elsewhere.example"], strava.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert reached(session) == 302
    assert len(proxy.asked) == len(strava.asked) == 1


def test_the_deadline_holds_through_a_proxy(
    strava: Loopback, session: requests.Session, monkeypatch: pytest.MonkeyPatch, short_deadline: float
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n"
    strava.answers(Raw(lambda: iter([head, *repeat(b"x", 1_000)])))
    with connect_proxy([HOST], strava.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        started = time.monotonic()
        with pytest.raises(RetriableStravaError) as late:
            reached(session)
    assert time.monotonic() - started < short_deadline + LATE_SECONDS
    assert str(late.value).endswith(f"no whole answer in time, through the proxy {proxy.address}")


def test_the_cap_of_a_body_holds_through_a_proxy(
    strava: Loopback, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "BODY_CAP_BYTES", 10)
    strava.answers(Reply(200, b"x" * 11))
    with connect_proxy([HOST], strava.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(RetriableStravaError, match="larger than 10 bytes"):
            reached(session)


def test_a_proxy_that_answers_byte_by_byte_holds_nobody_up(
    strava: Loopback, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "CONNECT_SECONDS", 0.4)
    with connect_proxy([HOST], strava.port, drips=True) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        started = time.monotonic()
        with pytest.raises(RetriableStravaError, match=f"through the proxy {proxy.address}"):
            reached(session)
    assert time.monotonic() - started < LATE_SECONDS
    assert strava.asked == []


def test_a_proxy_that_refuses_or_is_away_is_named(
    strava: Loopback, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect_proxy([], strava.port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(RetriableStravaError) as refused:
            reached(session)
    assert str(refused.value).endswith(
        f"cannot be reached: the proxy lets nothing pass to it (502), through the proxy {proxy.address}"
    )
    away = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("HTTPS_PROXY", f"http://{LOGIN}@{away}")
    with pytest.raises(RetriableStravaError) as unreachable:
        reached(session)
    assert str(unreachable.value).endswith(f"no connection to the proxy, through the proxy {away}")
    assert strava.asked == []


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:1080", "ftp://127.0.0.1:21", "http://"])
def test_a_proxy_of_another_kind_is_told_and_not_bypassed(
    strava: Loopback, session: requests.Session, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(RetriableStravaError, match="the address of a proxy has to be http://host:port or https:"):
        reached(session)
    assert strava.asked == []


def test_this_machine_is_reached_directly_whatever_the_environment_says(
    strava: Loopback, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect_proxy(["127.0.0.1"], strava.port) as proxy:
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert send(session, "GET", f"https://127.0.0.1:{strava.port}", what="GET").status == 200
    assert proxy.asked == []


def test_what_no_proxy_names_goes_directly(session: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _no_address)
    with connect_proxy([HOST], 9) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", HOST)
        with pytest.raises(RetriableStravaError, match=r"no connection$"):
            reached(session)
    assert proxy.asked == []


def _no_address(*_: object, **__: object) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "no address")


def test_a_certificate_of_an_unknown_authority_is_refused_through_a_proxy(
    strava: Loopback, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect_proxy([HOST], strava.port) as proxy, new_session() as trusting_nobody_else:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(RetriableStravaError, match="the TLS certificate is not valid, through the proxy"):
            reached(trusting_nobody_else)
    assert strava.asked == []


def test_an_authority_is_trusted_beside_those_of_requests_own_variable(
    strava: Loopback, authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    theirs, key = make_certificate(other)
    url = f"https://127.0.0.1:{strava.port}"
    with Loopback() as company:
        company.speak_tls(theirs, key)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", theirs)
        with new_session(authority) as session:
            assert send(session, "GET", url, what="GET").status == 200
            assert send(session, "GET", f"https://127.0.0.1:{company.port}", what="GET").status == 200
        with new_session() as session, pytest.raises(RetriableStravaError, match="certificate is not valid"):
            send(session, "GET", url, what="GET")


def test_no_error_holds_a_proxys_password(session: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{LOGIN}@127.0.0.1:{free_port()}")
    with pytest.raises(RetriableStravaError) as told:
        reached(session)
    assert "canary" not in str(told.value)
    assert "canary" not in redact(f"a log with {LOGIN}")
