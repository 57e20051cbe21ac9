from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from strava_pipeline.keyring import Keyring, generate_key
from strava_pipeline.notifications.unsubscribe import athlete_behind, unsubscribe_url

OLD, NEW = generate_key(), generate_key()
RING = Keyring.parse(OLD)


def token(keyring: Keyring, athlete_id: int) -> str:
    return unsubscribe_url("https://bridge.example.org", keyring, athlete_id).rpartition("/")[2]


def test_a_link_leads_to_its_athlete() -> None:
    url = unsubscribe_url("https://bridge.example.org", RING, 1001)
    assert url.startswith("https://bridge.example.org/mail/unsubscribe/")
    assert athlete_behind(url.rpartition("/")[2], RING) == 1001


def test_a_link_outlives_a_change_of_keys_until_the_old_one_goes() -> None:
    link = token(RING, 7)
    assert athlete_behind(link, Keyring.parse(f"{NEW},{OLD}")) == 7
    assert athlete_behind(link, Keyring.parse(NEW)) is None


@pytest.mark.parametrize("change", ["{0}x", "x{0}", "{0}=", "", ".", "..", "{0}.", "a.1.b", "é.1.é"])
def test_a_forged_link_leads_nowhere(change: str) -> None:
    assert athlete_behind(change.format(token(RING, 7)), RING) is None


def test_a_link_is_good_for_one_athlete_only() -> None:
    assert athlete_behind(token(RING, 7).replace(".7.", ".8."), RING) is None
    assert athlete_behind(token(RING, 7).replace(".7.", ".07."), RING) in (None, 7)


@hypothesis.given(st.text(max_size=80))
def test_any_text_is_answered(text: str) -> None:
    assert athlete_behind(text, RING) is None
    assert athlete_behind(f"{RING.writing_key_id}.{text}", RING) is None


def test_a_number_without_end_leads_nowhere() -> None:
    assert athlete_behind(f"{RING.writing_key_id}.{'9' * 5000}.x", RING) is None
