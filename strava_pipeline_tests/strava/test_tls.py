from __future__ import annotations

import time
from itertools import repeat
from pathlib import Path

import pytest
import requests

from strava_pipeline.errors import RetriableStravaError
from strava_pipeline.strava import http
from strava_pipeline.strava.http import send
from strava_pipeline_tests.certificates import make_certificate
from strava_pipeline_tests.strava.loopback import LATE_SECONDS, Loopback, Raw


@pytest.fixture
def certificate(strava: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file with the certificate under which the server now speaks TLS."""
    # To requests these go before what a session trusts.
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    certificate, key = make_certificate(tmp_path)
    strava.speak_tls(certificate, key)
    return certificate


def test_an_unknown_certificate_is_refused_before_anything_is_sent(
    strava: Loopback, session: requests.Session, certificate: str
) -> None:
    with pytest.raises(RetriableStravaError, match="the TLS certificate is not valid"):
        send(session, "GET", f"https://127.0.0.1:{strava.port}", what="GET", headers={"Authorization": "Bearer x"})
    assert strava.asked == []


def test_the_deadline_holds_over_tls(
    strava: Loopback, session: requests.Session, certificate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.verify = certificate
    url = f"https://127.0.0.1:{strava.port}"
    assert send(session, "GET", url, what="GET").status == 200
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n"
    strava.answers(Raw(lambda: iter([head, *repeat(b"x", 1_000)])))
    monkeypatch.setattr(http, "DEADLINE_SECONDS", 0.4)
    started = time.monotonic()
    with pytest.raises(RetriableStravaError, match="no whole answer in time"):
        send(session, "GET", url, what="GET")
    assert time.monotonic() - started < LATE_SECONDS
