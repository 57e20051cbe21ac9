"""What only a process on the spot can see."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from strava_pipeline.keyring import Keyring, generate_key
from strava_pipeline.local import disk
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.new_host import MOVES_ON, SPELLINGS, ApiProbe
from strava_pipeline.warehouse.tokens.key_checks import check_keys
from strava_pipeline.watch.local_faults import full_disks, new_host, wrong_keys

DAY = timedelta(days=1)


def test_a_disk_without_room_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert full_disks(settings) == []
    monkeypatch.setattr(disk, "FULL_BYTES", 1e18)
    monkeypatch.setattr(disk, "FULL_SHARE", 1.0)
    (found,) = full_disks(settings)
    assert found.rule == "disk_full"
    assert "STRAVA_HOME" in found.detail


def test_keys_that_are_missing_or_others_are_found(engine: Engine) -> None:
    ours = Keyring.parse(f"{generate_key()},{generate_key()}")
    check_keys(engine, ours)
    assert wrong_keys(engine, ours) == []
    name = ours.writing_key_id
    other = Keyring.parse(f"{name}:{generate_key().partition(':')[2]}")
    (found,) = wrong_keys(engine, other)
    assert (found.rule, found.detail) == ("keys_missing", f"STRAVA_TOKEN_KEYS: key {name} is another one")


def probed(*answering: str) -> list[str]:
    asked: list[str] = []

    def probe(url: str, ca_bundle: Path | None) -> ApiProbe:
        asked.append(url)
        return ApiProbe(url, is_api=url in answering, told="")

    found = new_host(load_settings(api_url="https://www.strava.com/api/v3"), MOVES_ON - 42 * DAY, probe)
    return [each.detail for each in found]


@pytest.mark.parametrize("url", SPELLINGS)
def test_a_new_host_that_answers_is_told_by_its_spelling(url: str) -> None:
    assert probed(url) == [f"the new API answers at {url}"]
    assert probed(*SPELLINGS) == [f"the new API answers at {SPELLINGS[0]}"]


def test_a_new_host_that_does_not_answer_is_not_told() -> None:
    assert probed() == []


def test_nobody_is_asked_long_before_nor_by_who_uses_another_address() -> None:
    def probe(url: str, ca_bundle: Path | None) -> ApiProbe:
        raise AssertionError(url)

    old = load_settings(api_url="https://www.strava.com/api/v3")
    assert new_host(old, MOVES_ON - 43 * DAY, probe) == []
    assert new_host(load_settings(api_url=SPELLINGS[0]), MOVES_ON, probe) == []
