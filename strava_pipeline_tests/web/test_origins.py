"""Which texts are hosts and origins, and which pages are of the same origin."""

from __future__ import annotations

import pytest

from strava_pipeline.web.origins import Authority, has_host, parse_authority, parse_origin


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [
        ("127.0.0.1", "127.0.0.1", None),
        ("LOCALHOST:3000", "localhost", 3000),
        ("[::1]:3000", "::1", 3000),
        ("dagster.example.org", "dagster.example.org", None),
        ("a_b.example:65535", "a_b.example", 65535),
    ],
)
def test_a_host_is_a_name_and_perhaps_a_port(text: str, name: str, port: int | None) -> None:
    assert parse_authority(text) == Authority(name, port)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "localhost:", "localhost:0", "localhost:65536", "localhost:-1", "localhost:3000:3000",
        "localhost:\u0969", "user@localhost", "localhost/", "localhost?", "localhost#", "localhost\\", " localhost",
        "localhost ", "localhost\n", "localhost, evil.example", "localhost evil.example", "http://localhost",
        "localhost.", ".localhost", "::1", "[::1", "[::1]evil.example", "[::1%25lo]", "*", "%6cocalhost",
        "l\u043ecalhost", "localhost\0",
    ],
)  # fmt: skip
def test_anything_else_is_none(text: str) -> None:
    assert parse_authority(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "null", "", "http://", "file://", "localhost", "//localhost", "HTTP://localhost", "ftp://localhost",
        "http://localhost/", "http://localhost/path", "http://user@localhost", "http://localhost http://evil.example",
        "http://localhost, http://evil.example", "chrome-extension://abcdef", "about:blank", "http://localhost\n",
    ],
)  # fmt: skip
def test_what_browsers_send_for_no_page_of_the_web_is_no_origin(text: str) -> None:
    assert parse_origin(text) is None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:3000", "localhost:3000"),
        ("http://localhost", "localhost:80"),
        ("http://localhost:80", "localhost"),
        ("https://dagster.example.org", "dagster.example.org"),
        ("https://dagster.example.org", "dagster.example.org:443"),
        ("http://[::1]:3000", "[::1]:3000"),
        ("http://localhost:3000", "LOCALHOST:3000"),
    ],
)
def test_the_same_host_and_port_is_the_same_origin(origin: str, host: str) -> None:
    page, asked = parse_origin(origin), parse_authority(host)
    assert page is not None
    assert asked is not None
    assert has_host(page, asked)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:3001", "localhost:3000"),
        ("http://localhost", "localhost:3000"),
        ("http://127.0.0.1:3000", "localhost:3000"),
        ("https://localhost", "localhost:80"),
        ("http://localhost", "localhost:443"),
        ("http://localhost.evil.example:3000", "localhost:3000"),
        ("http://evil.example", "localhost"),
    ],
)
def test_another_host_or_port_is_another_origin(origin: str, host: str) -> None:
    page, asked = parse_origin(origin), parse_authority(host)
    assert page is not None
    assert asked is not None
    assert not has_host(page, asked)
