"""The course of an alert: when it fires, clears, and is told, and that it is told once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.warehouse.states import AlertChange, AlertState, Severity
from strava_pipeline.warehouse.watch.alert_rows import Alert
from strava_pipeline.warehouse.watch.findings import Finding
from strava_pipeline.watch.alerting import AGAIN_AFTER, News, Times, advance
from strava_pipeline.watch.rules import RULES, RULES_BY_NAME, Rule

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AWAY = RULES_BY_NAME["strava_away"]
FIRED, CLEARED, AGAIN = AlertChange.FIRED, AlertChange.CLEARED, AlertChange.AGAIN


@dataclass
class World:
    """Alerts as they are stored, looked at again and again."""

    scale: float = 1.0
    silenced: frozenset[str] = frozenset()
    moment: datetime = NOON
    rows: dict[tuple[str, int], Alert] = field(default_factory=dict)

    def look(self, findings: Sequence[Finding] = (), after: timedelta = timedelta()) -> list[News]:
        self.moment += after
        course = advance(self.rows.values(), findings, Times(self.moment, self.scale), self.silenced)
        self.rows |= {alert.key: alert for alert in course.store}
        for alert in course.gone:
            del self.rows[alert.key]
        return course.news

    def changes(self, findings: Sequence[Finding] = (), after: timedelta = timedelta()) -> list[AlertChange]:
        return [news.change for news in self.look(findings, after)]


def away(detail: str = "no answer", **more: object) -> list[Finding]:
    return [Finding(AWAY.name, detail, **more)]  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_fires_and_clears_in_its_time_with_one_message_each(rule: Rule) -> None:
    world, finding = World(), [Finding(rule.name, "why", athlete_id=7 if rule.per_athlete else 0)]
    second = timedelta(seconds=1)
    told = world.changes(finding)
    if rule.fires_after:
        assert told == []
        assert world.changes(finding, rule.fires_after - second) == []
        told = world.changes(finding, second)
    assert told == [FIRED]
    assert world.changes(finding, second) == []
    assert world.changes([], second) == []
    assert world.changes([], rule.clears_after - second) == []
    assert world.changes([], second) == [CLEARED]
    assert world.rows == {}
    assert world.changes([], MINUTE) == []


def test_what_ends_before_its_time_tells_nothing() -> None:
    world = World()
    assert world.changes(away()) == []
    assert world.changes(away(), 14 * MINUTE) == []
    assert world.changes([], MINUTE) == []
    assert world.changes(away(), MINUTE) == []
    assert world.changes(away(), 14 * MINUTE) == []


def test_what_comes_back_before_it_is_cleared_tells_nothing() -> None:
    world = World()
    world.look(away())
    assert world.changes(away(), 15 * MINUTE) == [FIRED]
    for _ in range(20):
        assert world.changes([], MINUTE) == []
        assert world.changes(away(), MINUTE) == []


def test_a_text_that_changes_each_time_is_stored_and_not_told() -> None:
    world = World()
    world.look(away("first"))
    assert world.changes(away("second"), 15 * MINUTE) == [FIRED]
    assert world.changes(away("third"), MINUTE) == []
    assert world.rows[AWAY.name, 0].detail == "third"


def test_a_fault_that_began_before_anybody_looked_counts_from_its_beginning() -> None:
    world = World()
    assert world.changes(away(since=NOON - 15 * MINUTE)) == [FIRED]
    assert world.rows[AWAY.name, 0].since == NOON - 15 * MINUTE


def test_a_beginning_that_lies_ahead_counts_from_now() -> None:
    world = World()
    world.look(away(since=NOON + timedelta(days=1)))
    assert world.changes(away(since=NOON + timedelta(days=1)), MINUTE) == []
    assert world.rows[AWAY.name, 0].since <= world.moment


def test_a_critical_alert_is_told_again_each_day_and_a_warning_is_not() -> None:
    world = World()
    both = [*away(since=NOON - 15 * MINUTE), Finding("foreign_subscription", "ids")]
    assert sorted(world.changes(both)) == [FIRED, FIRED]
    assert world.changes(both, AGAIN_AFTER - MINUTE) == []
    again = world.look(both, MINUTE)
    assert [(news.rule.severity, news.change) for news in again] == [(Severity.CRITICAL, AGAIN)]
    assert world.changes(both, MINUTE) == []
    assert world.changes(both, AGAIN_AFTER) == [AGAIN]


def test_athletes_of_a_rule_share_a_message() -> None:
    world = World()
    theirs = [Finding("athlete_must_reconnect", "void", athlete_id=number) for number in (3, 1, 2)]
    world.look(theirs)
    (news,) = world.look(theirs, MINUTE)
    assert [alert.athlete_id for alert in news.alerts] == [1, 2, 3]
    world.look(theirs[:1])
    (news,) = world.look(theirs[:1], MINUTE)
    assert news.change is CLEARED
    assert [alert.athlete_id for alert in news.alerts] == [1, 2]


def test_a_silenced_rule_shows_and_tells_nothing() -> None:
    world = World(silenced=frozenset({AWAY.name}))
    assert world.changes(away(since=NOON - 15 * MINUTE)) == []
    assert world.rows[AWAY.name, 0].state is AlertState.FIRING
    assert world.changes([], MINUTE) == []
    assert world.changes([], 5 * MINUTE) == []
    assert world.rows == {}


def test_what_is_on_when_a_silence_ends_is_told_then() -> None:
    world = World(silenced=frozenset({AWAY.name}))
    world.look(away(since=NOON - 15 * MINUTE))
    world.silenced = frozenset()
    assert world.changes(away(), MINUTE) == [FIRED]


def test_what_nobody_was_told_of_is_not_told_to_be_over() -> None:
    world = World(silenced=frozenset({AWAY.name}))
    world.look(away(since=NOON - 15 * MINUTE))
    world.look([], MINUTE)
    world.silenced = frozenset()
    assert world.changes([], 5 * MINUTE) == []
    assert world.rows == {}


def test_what_a_bridge_told_by_itself_is_not_told_again_and_its_end_is() -> None:
    world = World()
    told = [Finding("database_away", "refused", is_told=True)]
    assert world.changes(told) == []
    assert world.changes(told) == []
    assert world.changes([]) == []
    assert world.changes([], 5 * MINUTE) == [CLEARED]


def test_times_are_scaled() -> None:
    world = World(scale=0.01)
    world.look(away())
    assert world.changes(away(), timedelta(seconds=8)) == []
    assert world.changes(away(), timedelta(seconds=1)) == [FIRED]
    world.look([])
    assert world.changes([], timedelta(seconds=3)) == [CLEARED]


def test_rows_and_findings_of_unknown_rules_go_without_a_word() -> None:
    world = World()
    world.rows = {("gone", 0): Alert("gone", 0, AlertState.FIRING, NOON, NOON, NOON, NOON, "why")}
    assert world.changes([Finding("of_a_later_version", "why")], timedelta(days=2)) == []
    assert world.rows == {}


def test_rows_that_a_bridge_of_another_version_has_just_written_stay() -> None:
    world = World()
    world.rows = {("later", 0): Alert("later", 0, AlertState.FIRING, NOON, NOON, NOON, NOON, "why")}
    assert world.changes([], timedelta(hours=1)) == []
    assert list(world.rows) == [("later", 0)]


@given(looks=st.lists(st.tuples(st.booleans(), st.integers(0, 1200)), max_size=60))
def test_messages_alternate_whatever_happens(looks: list[tuple[bool, int]]) -> None:
    world = World()
    told = [change for holds, pause in looks for change in world.changes(away() * holds, timedelta(seconds=pause))]
    changes = [change for change in told if change is not AGAIN]
    assert changes == [FIRED, CLEARED] * (len(changes) // 2) + [FIRED] * (len(changes) % 2)
