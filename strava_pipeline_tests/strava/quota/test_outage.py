from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from strava_pipeline.strava.http import DEADLINE_SECONDS
from strava_pipeline.strava.quota.outage import (
    ANSWERED,
    CALLS,
    LONGEST_CALL,
    LONGEST_PAUSE_S,
    MOST_HOSTS,
    SILENCE,
    Outage,
)

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def unanswered(state: Outage, *moments: float, activity: int | None = None, host: str = "a") -> Outage:
    """The state after calls that were sent at these times, and refused a second later."""
    for moment in moments:
        state = state.after_unanswered(at(moment), at(moment + 1), activity, host, "no connection")
    return state


AWAY = unanswered(ANSWERED, 0, 1, 3, 7, 29)


def test_five_calls_in_a_row_over_thirty_seconds_are_an_outage_since_the_first() -> None:
    assert not unanswered(ANSWERED, 0, 1, 3, 29).is_away
    assert not unanswered(ANSWERED, 0, 1, 3, 7, 28).is_away
    assert (AWAY.away_since, AWAY.probe_at, AWAY.reason) == (at(0), at(35), "no connection")


def test_five_at_once_that_time_out_are_an_outage() -> None:
    state = ANSWERED
    for _ in range(CALLS):
        assert not state.is_away
        state = state.after_unanswered(at(0), at(30), None, "a", "no whole answer in time")
    assert state.is_away


def test_one_activity_is_no_outage_but_two_are() -> None:
    odd = unanswered(ANSWERED, 0, 10, 20, 30, 40, 50, activity=12)
    assert not odd.is_away
    assert unanswered(odd, 60, activity=13).is_away
    assert unanswered(odd, 60).is_away


def test_one_call_probes_and_the_others_wait_as_long_as_it_can_take() -> None:
    assert not AWAY.may_probe(at(34), "a")
    assert AWAY.may_probe(at(35), "a")
    probing = AWAY.probe_begun(at(35), "a")
    assert not probing.may_probe(at(69), "a")
    assert probing.may_probe(at(70), "a"), "its process died"


def test_pauses_grow_to_five_minutes() -> None:
    state, pauses = AWAY, []
    for _ in range(8):
        assert state.probe_at is not None
        began = state.probe_at
        state = state.probe_begun(began, "a").after_unanswered(began, began, None, "a", "503")
        assert state.probe_at == began + timedelta(seconds=state.pause_s)
        pauses.append(state.pause_s)
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]


def test_what_was_sent_before_the_probe_moves_nothing() -> None:
    probing = AWAY.probe_begun(at(35), "a")
    late = probing.after_unanswered(at(20), at(50), None, "a", "no whole answer in time")
    assert (late.probe_at, late.pause_s) == (probing.probe_at, probing.pause_s)


def test_a_probe_that_was_not_sent_leaves_it_to_the_next_call() -> None:
    probing = AWAY.probe_begun(at(35), "a")
    assert probing.probe_released(at(35), at(36)).may_probe(at(36), "a")
    assert probing.probe_released(at(34), at(36)) == probing


def test_another_machine_looks_for_itself_once() -> None:
    assert AWAY.may_probe(at(31), "b")
    probing = AWAY.probe_begun(at(31), "b")
    assert not probing.may_probe(at(32), "b")
    assert not probing.may_probe(at(32), "a")


def test_machines_without_end_do_not_all_look_for_themselves() -> None:
    state = AWAY
    for number in range(MOST_HOSTS - 1):
        assert state.may_probe(at(31), f"pod-{number}")
        state = state.probe_begun(at(31), f"pod-{number}")
    assert not state.may_probe(at(31), "pod-99")
    assert len(state.probe_begun(at(99), "pod-99").hosts) == MOST_HOSTS


def test_a_clock_that_was_set_back_holds_nobody() -> None:
    assert AWAY.may_probe(at(-3600), "a")


class Calls(RuleBasedStateMachine):
    """Calls of three machines about two activities or neither, in any order, answered or not, or never settled."""

    def __init__(self) -> None:
        super().__init__()
        self.state = ANSWERED
        self.moment = NOON
        self.under_way: list[tuple[datetime, int | None, str]] = []
        self.failures: list[tuple[datetime, datetime, int | None]] = []
        self.last_news = NOON

    @rule(seconds=st.sampled_from([0.001, 1.0, 4.0, 10.0, 29.0, 40.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)

    @rule(activity=st.sampled_from([12, 12, 13, None]), host=st.sampled_from("abc"))
    def send(self, activity: int | None, host: str) -> None:
        # A call each microsecond, so that a time of sending names one.
        self.moment += timedelta(microseconds=1)
        if self.state.is_away:
            if not self.state.may_probe(self.moment, host):
                return
            self.state = self.state.probe_begun(self.moment, host)
            self.last_news = self.moment
            assert not self.state.may_probe(self.moment, host)
        self.under_way.append((self.moment, activity, host))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        sent, activity, host = self._take(data)
        before = self.state
        self.state = before.after_unanswered(sent, self.moment, activity, host, "503")
        self.failures.append((sent, self.moment, activity))
        self.last_news = self.moment
        if self.state.is_away and not before.is_away:
            assert len(self.failures) >= CALLS
            assert self.state.away_since == min(sent for sent, _, _ in self.failures)
            assert self.moment - self.state.away_since >= SILENCE
            assert len({activity for _, _, activity in self.failures} | {None}) > 2 or None in {
                activity for _, _, activity in self.failures
            }

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        self._take(data)
        self.state, self.failures = ANSWERED, []

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        sent, _, _ = self._take(data)
        self.state = self.state.probe_released(sent, self.moment)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        self._take(data)

    @invariant()
    def somebody_may_try_within_five_minutes(self) -> None:
        if self.state.is_away:
            assert self.state.probe_at is not None
            assert self.state.probe_at <= self.last_news + timedelta(seconds=LONGEST_PAUSE_S)

    @invariant()
    def only_a_row_of_failures_stops_anybody(self) -> None:
        assert self.state.unanswered == len(self.failures)

    def _take(self, data: st.DataObject) -> tuple[datetime, int | None, str]:
        return self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))


TestCalls = Calls.TestCase


def test_a_probe_lasts_longer_than_a_call() -> None:
    assert timedelta(seconds=DEADLINE_SECONDS) < LONGEST_CALL
