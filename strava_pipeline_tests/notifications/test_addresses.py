from __future__ import annotations

import pytest

from strava_pipeline.notifications.addresses import checked_address

LABEL = "b" * 63


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("mira@example.org", "mira@example.org"),
        ("Mira.Lang+rides@EXAMPLE.org", "Mira.Lang+rides@example.org"),
        ("mira@b\u00fccher.example.org", "mira@xn--bcher-kva.example.org"),
        (f"{'a' * 54}@{LABEL}.{LABEL}.{LABEL}.org", f"{'a' * 54}@{LABEL}.{LABEL}.{LABEL}.org"),
        ("mira@localhost", "mira@localhost"),
        ("Mira+rides@NAS.Local", "Mira+rides@nas.local"),
        ("mira@b\u00fccher.local", "mira@xn--bcher-kva.local"),
        ("mira@mail.home.arpa", "mira@mail.home.arpa"),
    ],
)
def test_an_address_is_spelled_in_one_way_in_ascii(given: str, address: str) -> None:
    assert checked_address(given) == address


@pytest.mark.parametrize(
    "given",
    [
        "mira",
        "mira@home",
        "mira@nas.test",
        "mira@nas.onion",
        "mira@nas.invalid",
        "mira@1.0.168.192.in-addr.arpa",
        "@",
        "@localhost",
        "mira@.local",
        "mira@-nas.local",
        "mira@nas.local.",
        "mira@x.org@nas.local",
        "a b@nas.local",
        '"a b"@nas.local',
        "mira@x.org\r\nBcc: x@nas.local",
        "mira@nas.local\r\nBcc: x@y.org",
        "mira@nas\x00.local",
        "mira\u200b@nas.local",
        "Mira <mira@nas.local>",
        "mira@x.org,eve@nas.local",
        "a@b@c.org",
        "a b@example.org",
        '"a b"@example.org',
        '"a\r\nBcc: x@y.org"@example.org',
        "a@example.org\nBcc: x@y.org",
        "a@example.org\r\n",
        "a@[127.0.0.1]",
        "Mira <mira@example.org>",
        "mira@example.org,eve@example.org",
        "m\u00edra@example.org",
        "mira@example.org\u202e",
        "mira\u200b@example.org",
        "mira@exa\x00mple.org",
        f"{'a' * 65}@example.org",
        f"mira@{LABEL}.{LABEL}.{LABEL}.{LABEL}.org",
        "mira@example..org",
        ".mira@example.org",
    ],
)
def test_what_not_every_mail_server_takes_is_no_address(given: str) -> None:
    with pytest.raises(ValueError, match="no e-mail address"):
        checked_address(given)
