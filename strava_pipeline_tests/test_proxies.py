"""Which way a request takes, by its address and the environment."""

from __future__ import annotations

import os

import pytest

from strava_pipeline import own_process
from strava_pipeline.proxies import is_usable, name_of, proxy_for, through
from strava_pipeline.redaction import redact

STRAVA = "https://www.strava.com/api/v3"
PROXY = "http://proxy.example:3128"
VARIABLES = ("https_proxy", "http_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy at first."""
    for name in VARIABLES:
        for form in (name, name.upper()):
            monkeypatch.delenv(form, raising=False)


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_strava_is_reached_through_the_proxy_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert proxy_for(STRAVA) is None
    monkeypatch.setenv(name, f" {PROXY}\n")
    assert proxy_for(STRAVA) == PROXY
    assert through(STRAVA) == ", through the proxy proxy.example:3128"


def test_a_proxy_for_plain_http_is_not_for_https(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    assert proxy_for(STRAVA) is None
    assert proxy_for("http://beats.example/") == PROXY


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:3000",
        "https://127.8.9.10",
        "http://localhost:8080/health",
        "http://LOCALHOST:8080/health",
        "http://[::1]:8080",
        "http://webserver:3000",
        "http://10.1.2.3",
        "https://192.168.1.5:3000",
        "http://dagster.data.svc.cluster.local:3000",
        "https://dagster.corp.internal",
    ],
)
@pytest.mark.parametrize("name", ["https_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_this_machine_and_its_private_network_are_never_reached_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, name: str, address: str
) -> None:
    monkeypatch.setenv(name, PROXY)
    assert proxy_for(address) is None
    assert through(address) == ""


@pytest.mark.parametrize("excepted", ["*", "www.strava.com", ".strava.com", "elsewhere.example, strava.com"])
def test_what_no_proxy_names_is_reached_directly(monkeypatch: pytest.MonkeyPatch, excepted: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", excepted)
    assert proxy_for(STRAVA) is None


@pytest.mark.parametrize(
    ("proxy", "name"),
    [
        ("http://someone:canary-p%40ssword@proxy.example:3128", "proxy.example:3128"),
        ("someone:canary-p%40ssword@proxy.example:3128", "proxy.example:3128"),
        ("http://proxy.example", "proxy.example:80"),
        ("https://proxy.example/", "proxy.example:443"),
        ("http://[fd00::1]:3128", "[fd00::1]:3128"),
        ("http://proxy.example:none", "proxy.example"),
        ("http://", "that the environment names"),
        ("http://[", "that the environment names"),
    ],
)
def test_a_proxy_is_named_by_host_and_port(monkeypatch: pytest.MonkeyPatch, proxy: str, name: str) -> None:
    assert name_of(proxy) == name
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    assert through(STRAVA) == f", through the proxy {name}"


def test_a_proxys_password_is_masked_once_its_address_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://someone:canary-of%20a%20proxy@proxy.example:3128")
    proxy_for(STRAVA)
    assert "canary" not in redact("it was canary-of%20a%20proxy, which is canary-of a proxy")


@pytest.mark.parametrize(
    ("proxy", "usable"),
    [
        ("proxy.example:3128", True),
        ("http://proxy.example", True),
        ("https://proxy.example:3129", True),
        ("socks5://proxy.example:1080", False),
        ("ftp://proxy.example", False),
        ("http://proxy.example:none", False),
        ("http://", False),
        ("http://[", False),
    ],
)
def test_only_proxies_for_http_are_usable(proxy: str, usable: bool) -> None:
    assert is_usable(proxy) is usable


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "localhost,127.0.0.1,::1"),
        ("db.example, localhost", "db.example,localhost,127.0.0.1,::1"),
        ("*", "*"),
    ],
)
def test_an_entry_point_tells_libraries_of_others_to_reach_this_machine_directly(
    monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    monkeypatch.setenv("NO_PROXY", before)
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    for _ in range(2):
        own_process.set_up()
        assert os.environ["NO_PROXY"] == after


def test_without_a_proxy_an_entry_point_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "db.example")
    own_process.set_up()
    assert os.environ["NO_PROXY"] == "db.example"
