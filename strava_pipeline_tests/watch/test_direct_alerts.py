"""While the database is away a bridge tells by itself, once, and hands over what it told when the database is back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.states import AlertState
from strava_pipeline.warehouse.watch.alert_rows import Alert, NewMessage, Silence, load_alerts
from strava_pipeline.warehouse.watch.findings import Finding
from strava_pipeline.warehouse.watch.heartbeats import Role
from strava_pipeline.watch.direct_alerts import DATABASE_AWAY, DirectAlerts
from strava_pipeline_tests.watch.watched import Watched

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FULL = Finding("disk_full", "no room is left for STRAVA_HOME at /srv")
AWAY, DISK = "Critical: The database does not accept writes", "Critical: The disk is almost full"


class Ways:
    """What was sent, and whether sending works."""

    def __init__(self) -> None:
        self.subjects: list[str] = []
        self.work = True

    def tell(self, messages: Sequence[NewMessage]) -> bool:
        if self.work:
            self.subjects += [message.subject for message in messages]
        return self.work


@pytest.fixture
def ways() -> Ways:
    return Ways()


@pytest.fixture
def direct(settings: Settings, ways: Ways) -> DirectAlerts:
    return DirectAlerts(settings, ways.tell)


def test_a_database_that_is_away_is_told_once(direct: DirectAlerts, ways: Ways) -> None:
    for minutes in range(10):
        direct.note_away("refused", [], NOON + minutes * MINUTE)
    assert ways.subjects == [AWAY]


def test_a_moment_without_the_database_is_not_told(direct: DirectAlerts, ways: Ways) -> None:
    for hours in range(3):
        direct.note_away("refused", [], NOON + timedelta(hours=hours))
        direct.note_back([], [])
    assert ways.subjects == []
    assert direct.to_hand_over() == []


def test_what_could_not_be_sent_is_sent_later(direct: DirectAlerts, ways: Ways) -> None:
    ways.work = False
    direct.note_away("refused", [FULL], NOON)
    direct.note_away("refused", [FULL], NOON + 2 * MINUTE)
    ways.work = True
    direct.note_away("refused", [FULL], NOON + 3 * MINUTE)
    direct.note_away("refused", [FULL], NOON + 4 * MINUTE)
    assert sorted(ways.subjects) == [AWAY, DISK]


def test_what_the_tables_have_told_is_not_told_again(direct: DirectAlerts, ways: Ways) -> None:
    told = Alert(FULL.rule, 0, AlertState.FIRING, NOON, NOON, NOON, NOON, FULL.detail)
    direct.note_back([told], [])
    direct.note_away("refused", [FULL], NOON + MINUTE)
    direct.note_away("refused", [FULL], NOON + 2 * MINUTE)
    assert ways.subjects == [AWAY]


def test_only_what_the_database_would_tell_is_told_directly(direct: DirectAlerts, ways: Ways) -> None:
    daemon = Finding("daemon_silent", "no answer")
    direct.note_away("refused", [daemon], NOON)
    direct.note_away("refused", [daemon], NOON + timedelta(hours=1))
    assert ways.subjects == [AWAY]


def test_the_tables_tell_the_end_of_what_was_told_directly(watched: Watched, ways: Ways) -> None:
    direct = DirectAlerts(watched.settings, ways.tell)
    direct.note_away("refused", [], NOON)
    direct.note_away("refused", [], NOON + MINUTE)
    assert ways.subjects == [AWAY]

    def look() -> list[str]:
        watched.give_sign_of_life(Role.BRIDGE, direct.to_hand_over())
        told = watched.look()
        with watched.engine.connect() as connection:
            direct.note_back(load_alerts(connection), [])
        return told

    assert look() == []
    with watched.engine.connect() as connection:
        assert [(alert.rule, alert.state) for alert in load_alerts(connection)] == [(DATABASE_AWAY, "firing")]
    assert direct.to_hand_over() == []
    assert look() == []
    watched.let_pass(timedelta(minutes=5))
    assert look() == ["Cleared (critical): The database does not accept writes"]
    assert look() == []


def test_a_disk_that_is_still_full_when_the_database_is_back_is_not_told_again(watched: Watched, ways: Ways) -> None:
    direct = DirectAlerts(watched.settings, ways.tell)
    direct.note_away("refused", [FULL], NOON)
    direct.note_away("refused", [FULL], NOON + MINUTE)
    assert sorted(ways.subjects) == [AWAY, DISK]
    watched.give_sign_of_life(Role.BRIDGE, [FULL, *direct.to_hand_over()])
    assert watched.look() == []
    watched.give_sign_of_life(Role.BRIDGE, [FULL])
    watched.let_pass(MINUTE)
    assert watched.look() == []


def test_a_rule_that_is_silenced_tells_nothing_until_its_silence_ends(direct: DirectAlerts, ways: Ways) -> None:
    direct.note_back([], [Silence(DATABASE_AWAY, NOON + 10 * MINUTE, "command", "a new disk")])
    for minutes in range(10):
        direct.note_away("refused", [], NOON + minutes * MINUTE)
    assert ways.subjects == []
    assert direct.to_hand_over() == []
    direct.note_away("refused", [], NOON + 10 * MINUTE)
    assert ways.subjects == [AWAY]


def test_a_bridge_that_starts_anew_hands_over_what_its_predecessor_told(
    watched: Watched, ways: Ways, tmp_path: Path
) -> None:
    settings = watched.settings.model_copy(update={"home": tmp_path})
    died = DirectAlerts(settings, ways.tell)
    died.note_away("refused", [], NOON)
    died.note_away("refused", [], NOON + MINUTE)
    assert ways.subjects == [AWAY]
    successor = DirectAlerts(settings, ways.tell)
    watched.give_sign_of_life(Role.BRIDGE, successor.to_hand_over())
    assert watched.look() == []
    successor.note_back([], [])
    assert successor.to_hand_over() == []
    watched.give_sign_of_life(Role.BRIDGE)
    assert watched.look() == []
    watched.let_pass(timedelta(minutes=5))
    assert watched.look() == ["Cleared (critical): The database does not accept writes"]


def test_a_bridge_that_takes_over_does_not_tell_again(settings: Settings, ways: Ways, tmp_path: Path) -> None:
    settings = settings.model_copy(update={"home": tmp_path})
    first, second = DirectAlerts(settings, ways.tell), DirectAlerts(settings, ways.tell)
    second.note_away("refused", [FULL], NOON)
    for minutes in range(2):
        first.note_away("refused", [FULL], NOON + minutes * MINUTE)
    for minutes in range(2, 5):
        second.note_away("refused", [FULL], NOON + minutes * MINUTE)
    assert sorted(ways.subjects) == [AWAY, DISK]
    assert sorted(each.rule for each in second.to_hand_over()) == [DATABASE_AWAY, "disk_full"]


def test_a_next_outage_is_told_again(settings: Settings, ways: Ways, tmp_path: Path) -> None:
    direct = DirectAlerts(settings.model_copy(update={"home": tmp_path}), ways.tell)
    for hours in range(2):
        for minutes in range(2):
            direct.note_away("refused", [], NOON + timedelta(hours=hours) + minutes * MINUTE)
        direct.note_back([], [])
    assert ways.subjects == [AWAY, AWAY]


def test_a_note_that_cannot_be_read_or_written_counts_for_nothing(
    settings: Settings, ways: Ways, tmp_path: Path
) -> None:
    (tmp_path / "direct-alerts.json").write_text("[half")
    direct = DirectAlerts(settings.model_copy(update={"home": tmp_path}), ways.tell)
    assert direct.to_hand_over() == []
    nowhere = DirectAlerts(settings.model_copy(update={"home": tmp_path / "none"}), ways.tell)
    for minutes in range(3):
        nowhere.note_away("refused", [], NOON + minutes * MINUTE)
    assert ways.subjects == [AWAY]
    assert [each.rule for each in nowhere.to_hand_over()] == [DATABASE_AWAY]
