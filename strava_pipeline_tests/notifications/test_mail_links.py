"""Links in mails: for one athlete, one address and one nonce, and never anybody else's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import hypothesis
import pytest
from hypothesis import strategies as st

from strava_pipeline.keyring import Keyring, generate_key
from strava_pipeline.notifications.mail_links import (
    ConfirmLink,
    UnsubscribeLink,
    confirm_url,
    is_for,
    mailbox_hash,
    read_confirm_link,
    read_unsubscribe_link,
    unsubscribe_url,
)
from strava_pipeline.warehouse.mail.consent import CONFIRM_WITHIN, Consent

OLD, NEW = generate_key(), generate_key()
RING = Keyring.parse(OLD)
GIVEN = datetime(2026, 11, 28, 12, tzinfo=UTC)
MIRA = Consent(7, "mira@example.org", GIVEN, None, "confirm-nonce", "end-nonce")


def token(url: str) -> str:
    return url.rpartition("/")[2]


def ending(keyring: Keyring = RING, consent: Consent = MIRA) -> str:
    return token(unsubscribe_url("https://bridge.example.org", keyring, consent))


def confirming(keyring: Keyring = RING, consent: Consent = MIRA) -> ConfirmLink:
    link = read_confirm_link(token(confirm_url("https://bridge.example.org", keyring, consent)))
    assert link is not None
    return link


def test_links_lead_to_their_pages_and_athletes() -> None:
    assert unsubscribe_url("https://b.example.org", RING, MIRA).startswith("https://b.example.org/mail/unsubscribe/")
    assert confirm_url("https://b.example.org", RING, MIRA).startswith("https://b.example.org/mail/confirm/")
    assert read_unsubscribe_link(ending(), RING) == UnsubscribeLink(7, "end-nonce")
    assert is_for(confirming(), RING, MIRA)


def test_links_in_mails_of_the_older_form_are_good_until_their_key_goes() -> None:
    ring = Keyring({"k1": bytes(range(32))})
    link = read_confirm_link("k1.7.confirm-nonce.1796472000.TSuinS81fCj10Y5jNDhGZQ")
    assert link is not None
    assert is_for(link, ring, MIRA)
    assert not is_for(link, ring, replace(MIRA, email="eve@example.org"))
    ending = "k1.7.end-nonce.PbLZSp4kS5LCo1KIEal5vw"
    assert read_unsubscribe_link(ending, ring) == UnsubscribeLink(7, "end-nonce")
    assert read_unsubscribe_link(ending.replace(".7.", ".8."), ring) is None
    other = Keyring({"k2": bytes(range(32))})
    assert not is_for(link, other, MIRA)
    assert read_unsubscribe_link(ending, other) is None


def test_links_outlive_a_change_of_keys_until_the_old_one_goes() -> None:
    both, new = Keyring.parse(f"{NEW},{OLD}"), Keyring.parse(NEW)
    assert read_unsubscribe_link(ending(), both) is not None
    assert read_unsubscribe_link(ending(), new) is None
    assert is_for(confirming(), both, MIRA)
    assert not is_for(confirming(), new, MIRA)


@pytest.mark.parametrize(
    "change",
    [
        {"athlete_id": 8},
        {"email": "eve@example.org"},
        {"email": "Mira@example.org"},
        {"nonce": "another"},
    ],
)
def test_a_link_that_confirms_is_bound_to_athlete_address_and_nonce(change: dict[str, object]) -> None:
    assert not is_for(confirming(), RING, replace(MIRA, **change))  # type: ignore[arg-type]  # one field each


def test_a_link_that_confirms_ends_a_week_after_the_address_was_given() -> None:
    link = confirming()
    assert link.expires_at == (GIVEN + CONFIRM_WITHIN).timestamp()
    assert confirming(consent=replace(MIRA, given_at=datetime.now(UTC))).is_over is False
    assert confirming(consent=replace(MIRA, given_at=datetime.now(UTC) - timedelta(days=7, seconds=1))).is_over
    # Nobody makes it last longer.
    assert not is_for(replace(link, expires_at=link.expires_at + 1), RING, MIRA)


def test_one_link_never_serves_as_the_other() -> None:
    same = replace(MIRA, unsubscribe_nonce=MIRA.nonce)
    assert read_confirm_link(ending(consent=same)) is None
    assert read_unsubscribe_link(token(confirm_url("", RING, same)), RING) is None


@pytest.mark.parametrize("change", ["{0}x", "x{0}", "{0}=", "", ".", "..", "{0}.", "a.1.b.c", "é.1.é.é", "{0}\n"])
def test_a_forged_link_leads_nowhere(change: str) -> None:
    assert read_unsubscribe_link(change.format(ending()), RING) is None
    assert read_confirm_link(change.format(token(confirm_url("", RING, MIRA)))) != confirming()


@pytest.mark.parametrize(("part", "other"), [("7.", "8."), ("7.", "07."), ("end-nonce", "end-nonc"), (".", "..")])
def test_each_part_of_a_link_is_signed(part: str, other: str) -> None:
    assert read_unsubscribe_link(ending().replace(part, other), RING) is None


def test_numbers_without_end_lead_nowhere() -> None:
    for number in ("9" * 19, "9" * 5000):
        assert read_unsubscribe_link(f"{RING.writing_key_id}.{number}.n.{'x' * 22}", RING) is None
        assert read_confirm_link(f"{RING.writing_key_id}.{number}.n.1.{'x' * 22}") is None
        assert read_confirm_link(f"{RING.writing_key_id}.1.n.{number}.{'x' * 22}") is None
        assert read_unsubscribe_link(f"{number}.n.{'x' * 43}", RING) is None
        assert read_confirm_link(f"{number}.n.1.{'x' * 43}") is None
        assert read_confirm_link(f"1.n.{number}.{'x' * 43}") is None


@hypothesis.given(st.text(max_size=80))
def test_any_text_is_answered(text: str) -> None:
    assert read_unsubscribe_link(text, RING) is None
    assert read_unsubscribe_link(f"{RING.writing_key_id}.{text}", RING) is None
    assert read_confirm_link(text) is None


def test_spellings_of_one_mailbox_are_counted_together_and_tell_nothing() -> None:
    spellings = (
        "mira.lang@example.org",
        "MIRA.LANG@Example.org",
        "mira.lang+rides@example.org",
        "miralang@example.org",
    )
    assert len({mailbox_hash(RING, spelling) for spelling in spellings}) == 1
    assert mailbox_hash(RING, "mira@example.org") != mailbox_hash(RING, "mira@example.com")
    # Whoever has the table, but no key, cannot try addresses.
    assert mailbox_hash(RING, "mira@example.org") != mailbox_hash(Keyring.parse(NEW), "mira@example.org")
