"""On what terms a request passes, and what the settings make of the door."""

from __future__ import annotations

import pytest

from strava_pipeline.dagster_guard.door import AccessSettings
from strava_pipeline.dagster_guard.entry import MOST_SECRETS, Credential, required_credential, session_secrets
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.web import operator_door
from strava_pipeline.web.request_signature import HEADER
from strava_pipeline_tests.dagster_guard.asking import COOKIE, asked, door, signed


def test_whoever_signs_nothing_needs_a_session() -> None:
    assert required_credential(asked("POST", "/graphql"), door()) is Credential.WITH_SESSION


@pytest.mark.parametrize("header", [signed(), (HEADER, ""), (HEADER.upper(), "x")])
def test_whatever_comes_with_a_signature_passes_by_it_alone(header: tuple[str, str]) -> None:
    for theirs in (asked("POST", "/graphql", header), asked("GET", "/", header, ("Cookie", f"{COOKIE}=s"))):
        assert required_credential(theirs, door()) is Credential.WITH_SIGNATURE
        assert required_credential(theirs, door(token=None)) is Credential.WITH_SIGNATURE
        assert required_credential(theirs, door(stands_open=True)) is Credential.FREE


def test_without_a_token_nobody_else_passes_unless_the_door_stands_open() -> None:
    assert required_credential(asked("GET", "/"), door(token=None)) is Credential.NEVER
    assert required_credential(asked("GET", "/"), door(token=None, stands_open=True)) is Credential.FREE
    assert required_credential(asked("GET", "/"), door(stands_open=True)) is Credential.FREE


@pytest.mark.parametrize(
    ("cookies", "found"),
    [
        ([], ()),
        (["a=b; c"], ()),
        ([f"{COOKIE}=s"], ("s",)),
        ([f"a=b; {COOKIE}=s;c=d"], ("s",)),
        # A page on another port may have planted one.
        ([f"{COOKIE}=planted; {COOKIE}=s"], ("planted", "s")),
        ([f"{COOKIE}=s", f"{COOKIE}=s"], ("s",)),
        ([f"{COOKIE}="], ()),
        ([f"{COOKIE}={'x' * 129}"], ()),
        ([f"x{COOKIE}=s; {COOKIE}x=s; {COOKIE.upper()}=s"], ()),
        (['a="; b; ' + f"{COOKIE}=s"], ("s",)),
    ],
)
def test_secrets_are_found_among_cookies(cookies: list[str], found: tuple[str, ...]) -> None:
    assert session_secrets(asked("GET", "/", *(("Cookie", cookie) for cookie in cookies)), COOKIE) == found


def test_no_more_secrets_are_looked_up_than_a_browser_has() -> None:
    many = "; ".join(f"{COOKIE}={number}" for number in range(1000))
    assert len(session_secrets(asked("GET", "/", ("Cookie", many)), COOKIE)) == MOST_SECRETS


def test_settings_make_the_door(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRAVA_OPERATOR_TOKEN")
    before = AccessSettings.from_settings(load_settings())
    assert before.names == {"127.0.0.1", "localhost", "::1"}
    assert (before.token, before.stands_open, before.over_tls) == (None, False, False)
    monkeypatch.setenv("STRAVA_OPERATOR_TOKEN", "a-token-of-the-operator")
    monkeypatch.setenv("STRAVA_DAGSTER_HOSTS", "Dagster.example.org, 192.168.1.4,[fd00::1]")
    monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", "https://rides.example.org")
    after = AccessSettings.from_settings(load_settings())
    assert after.names == before.names | {"dagster.example.org", "192.168.1.4", "fd00::1"}
    assert after.over_tls
    assert after.cookie == operator_door.cookie_name(load_settings())
    assert after.proof != before.proof
    assert "a-token-of-the-operator" not in repr(after)
    assert operator_door.dagster_signing_key(settings).reveal() not in repr(after)


def test_the_bridge_may_call_dagster_by_the_name_that_it_knows(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", "http://Webserver:3000")
    assert AccessSettings.from_settings(load_settings()).names == {"127.0.0.1", "localhost", "::1", "webserver"}


@pytest.mark.parametrize(
    "hosts", ["*", "https://dagster.example.org", "dagster.example.org:443", "*.example.org", "a b", "a/b"]
)
def test_hosts_that_are_no_names_are_named(settings: Settings, monkeypatch: pytest.MonkeyPatch, hosts: str) -> None:
    monkeypatch.setenv("STRAVA_DAGSTER_HOSTS", hosts)
    with pytest.raises(ConfigurationError, match="STRAVA_DAGSTER_HOSTS"):
        AccessSettings.from_settings(load_settings())
