"""Every alert fires and clears in a running stack in which its fault is caused, and each change is told once.

The table says which fault makes which rules fire. Lanes of one round run side by side, rounds after each other; the
faults that take the database away come last, alone. A fault is put right as soon as its rules have fired; that they
clear is awaited at the end, for all together.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field

import pytest

from strava_pipeline.local.postgres import Server
from strava_pipeline.warehouse.states import AlertChange
from strava_pipeline.warehouse.upkeep import due
from strava_pipeline.warehouse.watch.alert_outbox import LEASE
from strava_pipeline.watch.rules import RULES, RULES_BY_NAME
from strava_pipeline_tests.e2e.test_backfill_interrupted import found
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.integration import alert_faults as faults
from strava_pipeline_tests.integration.running_stack import Rider, RunningStack, running_stack
from strava_pipeline_tests.integration.told_alerts import NOBODY, Change, mailed, noted, pushed
from strava_pipeline_tests.upkeeping import only
from strava_pipeline_tests.warm_processes import WarmProcesses

# An hour becomes 72 seconds.
SCALE = 0.02


@dataclass(frozen=True)
class Case:
    """A fault, and the ``rules`` that it makes fire; ``riders``: for whom, where a rule is for single athletes."""

    fault: Callable[[RunningStack], AbstractContextManager[None]]
    rules: tuple[str, ...] = ()
    riders: tuple[Rider, ...] = ()

    @property
    def alerts(self) -> list[tuple[str, int]]:
        """Each rule and athlete that fires."""
        return [
            (rule, athlete)
            for rule in self.rules
            for athlete in (self.riders if RULES_BY_NAME[rule].per_athlete else (NOBODY,))
        ]


Lane = tuple[Case, ...]
ROUNDS: tuple[tuple[Lane, ...], ...] = (
    (
        (
            Case(faults.deliveries_are_forged, ("rejects_spike",)),
            Case(faults.another_subscription_delivers, ("foreign_subscription",)),
        ),
        (Case(faults.calls_to_strava_fail, ("errors_spike",)),),
    ),
    (
        (
            Case(faults.a_ride_cannot_be_fetched, ("dead_letters",)),
            Case(faults.the_quota_is_used_up, ("quota_high_with_live_waiting",)),
            Case(faults.an_import_gets_nowhere, ("import_stuck",), (Rider.IMPORTED,)),
        ),
    ),
    (
        (Case(faults.the_daemon_stands_still, ("daemon_silent", "inbox_stuck")),),
        (
            Case(faults.a_database_was_restored, ("restore_unchecked",)),
            Case(faults.strava_switches_the_app_off, ("app_inactive",)),
            Case(faults.strava_answers_nobody, ("strava_away",)),
            Case(faults.strava_refuses_our_secret, ("refreshes_failing",)),
            Case(faults.athletes_end_their_grants, ("many_must_reconnect", "athlete_must_reconnect"), faults.LEAVING),
            Case(faults.tokens_have_another_key, ("keys_missing",)),
            Case(faults.somebody_locks_the_inbox, ("dispatcher_silent",)),
            Case(faults.bridges_are_killed),
        ),
    ),
    # What is late is caught up with by one run of upkeep, for which Strava and its athletes must be there.
    (
        (Case(faults.events_came_late, ("processing_slow",)),),
        (Case(faults.upkeep_stands_still, ("upkeep_late",)),),
    ),
    ((Case(faults.the_api_is_about_to_move, ("new_api_host",)),),),
)
# These take the database away, which all others need.
ALONE: Lane = (
    Case(faults.the_database_stops, ("database_away",)),
    Case(faults.the_disk_is_full, ("disk_full", "database_away")),
)
# These take their time, beside all rounds.
BESIDE: tuple[Lane, ...] = (
    (Case(faults.an_athlete_falls_silent, ("athlete_silent",), (Rider.SILENT,)),),
    (Case(faults.strava_delivers_nothing, ("deliveries_missed",)),),
    (Case(faults.the_mail_server_is_away, ("mails_failing",)),),
)
LANES = [*BESIDE, *(lane for together in ROUNDS for lane in together), ALONE]
CASES = [case for lane in LANES for case in lane]


@dataclass
class Story:
    """What happened: when faults were there and gone (``time.monotonic``), and what went wrong, by case."""

    stack: RunningStack
    began: dict[Case, float] = field(default_factory=dict)
    fired: dict[tuple[Case, str], float] = field(default_factory=dict)
    cured: dict[Case, float] = field(default_factory=dict)
    errors: dict[Case, Exception] = field(default_factory=dict)
    is_over: bool = False

    def tell(self, lane: Lane) -> None:
        """Cause one fault after the other, and put each right once it was told; a failure is kept."""
        for case in lane:
            if self.is_over:
                return
            try:
                self._cause(case)
            except Exception as error:  # noqa: BLE001  told by the tests of its rules; the other lanes go on
                self.errors[case] = error

    def _cause(self, case: Case) -> None:
        for rule, athlete in case.alerts:
            self._await_even(rule, athlete)
        self.began[case] = time.monotonic()
        before = self._told()
        with case.fault(self.stack):
            missed = [alert for alert in case.alerts if not self._fires(case, *alert, before)]
        self.cured[case] = time.monotonic()
        assert not missed, f"never fired: {missed}"

    def _await_even(self, rule: str, athlete: int) -> None:
        """Wait until what an earlier fault made fire is cleared."""

        def is_even() -> bool:
            told = pushed(self.stack)
            return told[Change(rule, AlertChange.FIRED, athlete)] == told[Change(rule, AlertChange.CLEARED, athlete)]

        eventually(is_even, f"the end of an earlier {rule}")

    def _fires(self, case: Case, rule: str, athlete: int, before: Counter[Change]) -> bool:
        """Whether an alert fires in time; if not, the fault is put right all the same."""
        fired = Change(rule, AlertChange.FIRED, athlete)
        try:
            eventually(lambda: self._told()[fired] > before[fired], f"{rule} fires")
        except AssertionError:
            return False
        self.fired[case, rule] = time.monotonic()
        return True

    def _told(self) -> Counter[Change]:
        """What was told, or is about to be: without the database some is told directly."""
        return noted(self.stack) | pushed(self.stack)


@pytest.fixture(scope="module")
def story(warm_processes: WarmProcesses, server: Server) -> Iterator[Story]:
    """The whole story, told once for all tests."""
    settings = {"STRAVA_ALERT_TIME_SCALE": str(SCALE), "STRAVA_WEBHOOK_SUBSCRIPTION_ID": "1"}
    with running_stack(warm_processes, server, settings) as stack:
        with ThreadPoolExecutor() as pool:
            list(pool.map(stack.connect, Rider))
        with stack.engine.begin() as connection:
            due.add_missing(connection)
        only(stack.engine)
        told = Story(stack)
        _tell_everything(told)
        # The tests tell what is missing. What a killed bridge was about to send waits for the end of its lease.
        patience = LEASE.total_seconds() + PATIENCE_SECONDS
        with suppress(AssertionError):
            eventually(lambda: not expected() - (mailed(stack) & pushed(stack)), "every change on both ways", patience)
        yield told


def _tell_everything(told: Story) -> None:
    with ThreadPoolExecutor() as pool:
        try:
            beside = [pool.submit(told.tell, lane) for lane in BESIDE]
            for together in ROUNDS:
                for ended in [pool.submit(told.tell, lane) for lane in together]:
                    ended.result()
            for ended in beside:
                ended.result()
            told.tell(ALONE)
        finally:
            told.is_over = True


def expected() -> Counter[Change]:
    """Each change that is to be told."""
    return Counter(
        Change(rule, change, athlete)
        for case in CASES
        for rule, athlete in case.alerts
        for change in (AlertChange.FIRED, AlertChange.CLEARED)
    )


def test_the_table_has_a_fault_for_every_rule() -> None:
    assert {rule for case in CASES for rule in case.rules} == {rule.name for rule in RULES}


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_it_fires_while_its_fault_is_there_and_clears_afterwards(
    story: Story, rule: str, record_property: Callable[[str, object], None]
) -> None:
    cleared = Counter(change.rule for change in pushed(story.stack).elements() if change.change == AlertChange.CLEARED)
    for case in CASES:
        if rule in case.rules:
            assert case not in story.errors, story.errors[case]
            assert cleared[rule] > 0
            record_property(f"seconds to fire: {case.fault.__name__}", story.fired[case, rule] - story.began[case])


def test_each_change_is_told_once_by_mail_and_once_by_apprise(story: Story) -> None:
    """Two bridges are there, which are killed meanwhile, and a mail server that is away for a while."""
    assert (
        story.stack.rows("SELECT subject FROM ops.alert_messages WHERE finished_at IS NULL OR mail_error <> ''") == []
    )
    assert mailed(story.stack) == expected()
    assert pushed(story.stack) == expected()


def test_a_check_in_dagster_fails_while_a_critical_alert_is_on(story: Story) -> None:
    query = (
        "SELECT execution_status FROM asset_check_executions"
        " WHERE check_name = 'no_critical_alert' AND asset_key = '[\"strava\", \"activities\"]' AND run_id = ''"
        " ORDER BY id"
    )

    def told() -> list[str]:
        return [status for (status,) in found(story.stack.dagsters_address, query)]

    eventually(lambda: told()[-1:] == ["SUCCEEDED"], "a check that passes again")
    assert "FAILED" in told()
