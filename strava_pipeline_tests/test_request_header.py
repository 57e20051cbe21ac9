from __future__ import annotations

import base64

import pytest

from strava_pipeline.request_header import RequestHeader


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("Authorization: Bearer abc", "Authorization", "Bearer abc"),
        ("X-Api-Key:abc", "X-Api-Key", "abc"),
        ("Cookie: \t a=b; c=d", "Cookie", "a=b; c=d"),
        ("Proxy-Url: https://a:1/b", "Proxy-Url", "https://a:1/b"),
    ],
)
def test_a_header_is_its_name_and_its_value(text: str, name: str, value: str) -> None:
    header = RequestHeader.parse(text)
    assert (header.name, header.value.reveal()) == (name, value)
    assert value not in repr(header)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "canary",
        ": canary",
        "Name:",
        "Name: ",
        "A name: canary",
        "Name : canary",
        "Name: canary\n",
        "Name: canary\r\nOther: canary",
        "Name: can\x00ary",
        "Name: canary\x7f",
        "Name: can\u00e4ry",
        "N\u00e4me: canary",
        "host: canary",
        "Content-Length: 5",
        "Transfer-Encoding: canary",
    ],
)
def test_what_is_no_header_that_may_be_sent_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="header") as caught:
        RequestHeader.parse(text)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("Authorization: Bearer abc==", {"Bearer abc==", "abc=="}),
        ("Cookie: a=first; b=second", {"first", "second"}),
        (f"Authorization: Basic {base64.b64encode(b'me:pass:word').decode()}", {"pass:word", "bWU6cGFzczp3b3Jk"}),
        ("Authorization: Basic none", {"none"}),
        ("X-Api-Key: abc", {"abc"}),
    ],
)
def test_each_part_that_opens_something_is_secret(text: str, secrets: set[str]) -> None:
    assert secrets <= set(RequestHeader.parse(text).secret_parts())
