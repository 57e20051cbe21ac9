"""Strava's hosts and its clock, as far as this machine reaches them; each fault is a server's on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import time_machine

from strava_pipeline.cli.doctor import strava_checks
from strava_pipeline.cli.doctor.findings import Verdict
from strava_pipeline.settings import load_settings
from strava_pipeline.strava.new_host import SPELLINGS
from strava_pipeline_tests.doctor_checks import finding_of, told_by
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.strava.loopback import UNAUTHORIZED, Asked, Loopback, Raw, Reply

DAY = "2026-11-30"


@pytest.fixture(autouse=True)
def app(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of an app: without one, Strava is not asked."""
    monkeypatch.setenv("STRAVA_CLIENT_ID", "4711")
    monkeypatch.setenv("STRAVA_CLIENT_SECRET", "a secret of this test")


@pytest.fixture
def strava(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with Loopback() as loopback:
        monkeypatch.setenv("STRAVA_API_URL", f"{loopback.url}/api/v3")
        monkeypatch.setenv("STRAVA_OAUTH_URL", f"{loopback.url}/oauth")
        yield loopback


def dated(off: timedelta | None) -> Callable[[Asked], Raw]:
    """Answers whose ``Date`` is so far from the true time, or is not there."""

    def answer(_: Asked) -> Raw:
        date = "" if off is None else f"Date: {format_datetime(datetime.now(UTC) + off, usegmt=True)}\r\n"
        text = f"HTTP/1.1 302 Found\r\n{date}Content-Length: 0\r\nConnection: close\r\n\r\n"
        return Raw(lambda: iter([text.encode()]), hang_up=True)

    return answer


@pytest.mark.parametrize("name", ["OAuth", "clock", "API", "new API host", "new API host, www"])
def test_without_an_app_strava_is_not_asked(strava: Loopback, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Archives and files need no network."""
    for variable in ("STRAVA_CLIENT_ID", "STRAVA_CLIENT_SECRET"):
        monkeypatch.delenv(variable, raising=False)
    assert told_by(name) == (Verdict.OK, "not asked: no app is set up")
    assert strava.asked == []


@pytest.mark.parametrize(
    ("off", "verdict"),
    [
        (timedelta(0), Verdict.OK),
        (timedelta(seconds=30), Verdict.WARN),
        (timedelta(seconds=-30), Verdict.WARN),
        (timedelta(hours=1), Verdict.FAIL),
        (None, Verdict.WARN),
    ],
)
def test_a_clock_that_is_off_is_found_by_stravas_date(
    strava: Loopback, off: timedelta | None, verdict: Verdict
) -> None:
    strava.answer = dated(off)
    finding = finding_of("clock")
    assert finding.verdict is verdict
    if verdict is Verdict.FAIL:
        assert finding.message.endswith(" s behind Strava's")
        assert "NTP" in finding.what_to_do
    (asked,) = strava.asked
    assert (asked.method, asked.path) == ("GET", "/oauth/authorize")


def test_hosts_that_answer_are_well_and_get_no_credentials(strava: Loopback) -> None:
    strava.answer = lambda asked: UNAUTHORIZED if asked.path == "/api/v3/athlete" else Reply(302)
    assert told_by("OAuth") == (Verdict.OK, f"{strava.url}/oauth answers (302)")
    assert told_by("API") == (Verdict.OK, f"{strava.url}/api/v3 answers, and asks for a token (401)")
    for asked in strava.asked:
        assert "Authorization" not in asked.headers
        assert asked.query == {}


def test_an_oauth_that_is_down_and_an_api_that_is_another_servers_are_faults(strava: Loopback) -> None:
    strava.answers(Reply(503))
    assert told_by("OAuth")[0] is Verdict.FAIL
    finding = finding_of("API")
    assert finding.verdict is Verdict.FAIL
    assert "answers 503" in finding.message
    assert "STRAVA_API_URL" in finding.what_to_do


@pytest.mark.parametrize("name", ["OAuth", "clock", "API"])
def test_a_host_on_which_nothing_listens_is_a_fault(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("STRAVA_API_URL", nowhere)
    monkeypatch.setenv("STRAVA_OAUTH_URL", nowhere)
    finding = finding_of(name)
    assert finding.verdict is Verdict.FAIL
    assert nowhere in finding.message
    assert "no connection" in finding.message
    assert "firewall" in finding.what_to_do


def test_the_spelling_of_the_new_host_that_answers_is_named(strava: Loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    strava.answers(UNAUTHORIZED)
    nowhere = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setattr(strava_checks, "SPELLINGS", (strava.url, nowhere))
    old = load_settings(api_url="https://www.strava.com/api/v3")
    with time_machine.travel(DAY):
        answering, other = (finding_of(name, old) for name in ("new API host", "new API host, www"))
    assert answering.verdict is Verdict.WARN
    assert answering.message == f"{strava.url} answers, and asks for a token (401)"
    assert answering.what_to_do == f"set STRAVA_API_URL={strava.url} before 2027-01-04, and restart everything"
    assert (other.verdict, other.message) == (
        Verdict.OK,
        f"{nowhere} cannot be reached: no connection; it is needed from 2027-01-04 on",
    )
    with time_machine.travel("2027-01-05"):
        assert told_by("new API host, www", old)[0] is Verdict.WARN


def test_a_mock_or_the_new_host_itself_needs_no_other(strava: Loopback) -> None:
    assert told_by("new API host")[0] is Verdict.OK
    assert strava.asked == []
    moved = load_settings(api_url=SPELLINGS[0])
    assert told_by("new API host", moved) == (Verdict.OK, f"{SPELLINGS[0]} is in use")
