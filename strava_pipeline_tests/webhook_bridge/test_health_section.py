"""The Health section of the operator's page: what is wrong, whom it concerns, what to do, and the last 24 hours."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert, update

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.metric_totals import PeriodicJob, note_success
from strava_pipeline.warehouse.schema.alert_tables import alert_silences, alerts
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.metric_tables import metric_totals
from strava_pipeline.warehouse.schema.quota_tables import api_calls
from strava_pipeline.warehouse.schema.tables import athletes
from strava_pipeline.warehouse.states import AlertState, DeliveryOutcome, Severity
from strava_pipeline.warehouse.watch.alerts import NOBODY, StandingAlert
from strava_pipeline.warehouse.watch.deliveries import CountedDeliveries, add_deliveries
from strava_pipeline.watch.rules import RULES, RULES_BY_NAME
from strava_pipeline_tests.webhook_bridge.browser import Browser, words_of
from webhook_bridge.app import create_app
from webhook_bridge.health_section import ATHLETES_SHOWN, shown_alerts

NOW = datetime.now(UTC)
MIRA = 1001
HOUR = timedelta(hours=1)


@pytest.fixture
def browser(settings: Settings, engine: Engine) -> Browser:
    return Browser(create_app(load_settings(), engine)).logged_in()


def turn_on(engine: Engine, rule: str, athlete_id: int = NOBODY, **more: Any) -> None:
    values = {
        "rule": rule, "athlete_id": athlete_id, "state": AlertState.FIRING, "since": NOW - 2 * HOUR, "changed_at": NOW,
        "fired_at": NOW - HOUR, "detail": "what was found",
    }  # fmt: skip
    with engine.begin() as connection:
        connection.execute(insert(alerts).values(values | more))


def standing(rule: str, *athlete_ids: int, since: datetime = NOW) -> list[StandingAlert]:
    return [StandingAlert(rule, athlete_id, since, since, f"of {athlete_id}") for athlete_id in athlete_ids]


@pytest.fixture
def looked(engine: Engine) -> None:
    """A bridge has just looked for alerts."""
    note_success(engine, PeriodicJob.ALERTS)


@pytest.mark.parametrize(
    ("minutes", "told"), [(None, "nobody has looked for alerts yet."), (6, "nobody has looked for alerts since 20")]
)
def test_a_page_does_not_say_that_nothing_is_wrong_if_nobody_has_looked(
    browser: Browser, engine: Engine, minutes: int | None, told: str
) -> None:
    if minutes is not None:
        note_success(engine, PeriodicJob.ALERTS)
        with engine.begin() as connection:
            connection.execute(update(metric_totals).values(amount=metric_totals.c.amount - 60 * minutes))
    words = words_of(browser.get("/"))
    assert "Nothing is wrong" not in words
    assert f"What is wrong is not known: {told}" in words


@pytest.mark.usefixtures("looked")
def test_a_page_without_alerts_says_that_nothing_is_wrong(browser: Browser) -> None:
    words = words_of(browser.get("/"))
    assert "Nothing is wrong: no alert is on." in words
    assert "is not known" not in words
    assert "Watched, and no alert yet" not in words


def test_an_alert_says_what_is_wrong_since_when_and_what_to_do(browser: Browser, engine: Engine) -> None:
    turn_on(engine, "strava_away", detail="<b>no answer since noon")
    shown = browser.get("/")
    words = words_of(shown)
    rule = RULES_BY_NAME["strava_away"]
    for text in (
        "critical Strava does not answer",
        f"since {NOW - 2 * HOUR:%Y-%m-%d %H:%M} UTC, 2 h ago",
        rule.what_to_do,
        "docs/operations.md#strava-away",
    ):
        assert text in words
    assert "&lt;b&gt;no answer since noon" in shown.text
    assert "Nothing is wrong" not in words
    assert "Silenced" not in words


def test_athletes_are_named_where_an_alert_concerns_some(browser: Browser, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(athletes).values(id=MIRA, firstname="Mira", lastname="<b>Bo", fetched_at=NOW))
    turn_on(engine, "athlete_must_reconnect", MIRA, detail="Strava answered 401")
    turn_on(engine, "athlete_must_reconnect", 2002, detail="Strava answered 403")
    shown = browser.get("/")
    assert "&lt;b&gt;Bo" in shown.text
    words = words_of(shown)
    assert re.search(r"Mira .*1001 Strava answered 401", words)
    assert "Athlete 2002 Strava answered 403" in words


def test_a_silenced_alert_is_shown_with_the_end_of_its_silence(browser: Browser, engine: Engine) -> None:
    turn_on(engine, "mails_failing")
    until = NOW + 3 * HOUR
    with engine.begin() as connection:
        silence = {"rule": "mails_failing", "until": until, "silenced_by": "command", "because": "known"}
        connection.execute(insert(alert_silences).values(silence))
    assert f"Silenced until {until:%Y-%m-%d %H:%M} UTC" in words_of(browser.get("/"))


@pytest.mark.usefixtures("looked")
def test_what_is_pending_is_no_alert_yet(browser: Browser, engine: Engine) -> None:
    turn_on(engine, "upkeep_late", state=AlertState.PENDING, fired_at=None)
    words = words_of(browser.get("/"))
    assert "Nothing is wrong: no alert is on." in words
    assert "Watched, and no alert yet: Upkeep is late (for 2 h)." in words


def test_a_rule_of_another_version_is_shown_by_its_name(browser: Browser, engine: Engine) -> None:
    turn_on(engine, "moon_is_full")
    words = words_of(browser.get("/"))
    assert "warning moon_is_full" in words
    assert "what was found" in words


def test_critical_alerts_come_first_then_the_oldest() -> None:
    found = [
        *standing("dead_letters", NOBODY, since=NOW),
        *standing("mails_failing", NOBODY, since=NOW - 9 * HOUR),
        *standing("strava_away", NOBODY, since=NOW - HOUR),
        *standing("upkeep_late", NOBODY, since=NOW - 10 * HOUR),
    ]
    assert [alert.rule for alert in shown_alerts(found, {})] == [
        "strava_away",
        "dead_letters",
        "upkeep_late",
        "mails_failing",
    ]


def test_many_athletes_of_a_rule_are_counted() -> None:
    (shown,) = shown_alerts(standing("athlete_silent", *range(1, 1001)), {1: "Mira"})
    assert [subject.athlete_id for subject in shown.subjects] == list(range(1, ATHLETES_SHOWN + 1))
    assert (shown.subjects[0].name, shown.subjects[1].name) == ("Mira", None)
    assert shown.more == 1000 - ATHLETES_SHOWN


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_is_shown_with_its_severity_and_section(rule: Any) -> None:
    (shown,) = shown_alerts(standing(rule.name, NOBODY), {})
    assert (shown.severity, shown.summary) == (Severity(rule.severity), rule.summary)
    assert shown.section == f"docs/operations.md#{rule.name.replace('_', '-')}"


def test_an_empty_day_says_so(browser: Browser) -> None:
    shown = browser.get("/")
    assert "<svg" not in shown.text
    for text in ("No calls to Strava in the", "No deliveries in the", "No event in the"):
        assert f"{text} last 24 hours." in words_of(shown)


def test_the_days_calls_are_drawn_and_listed(browser: Browser, engine: Engine) -> None:
    with engine.begin() as connection:
        for lane, status in (("live", 200), ("live", 429), ("backfill", 200), ("backfill", None)):
            values = {"lane": lane, "endpoint": "/athlete", "status": status, "reserved_at": NOW, "settled_at": NOW}
            connection.execute(insert(api_calls).values(values))
    shown = browser.get("/")
    hour = f"{NOW:%H}:00"
    words = words_of(shown)
    assert f"{hour} 2 1 1" in words
    assert "By lane: backfill 2, live 2." in words
    assert f"<title>{hour}: 2 answered, 1 refused, 1 unanswered</title>" in shown.text
    assert "style=" not in shown.text


def test_the_days_deliveries_are_drawn_and_listed(browser: Browser, engine: Engine) -> None:
    slot = NOW.replace(minute=0, second=0, microsecond=0)
    counts = ((DeliveryOutcome.STORED, "", 40), (DeliveryOutcome.DUPLICATE, "", 3), (DeliveryOutcome.REJECTED, "x", 1))
    add_deliveries(engine, [CountedDeliveries(slot, outcome, why, "b", many, 12) for outcome, why, many in counts])
    shown = browser.get("/")
    hour = f"{NOW:%H}:00"
    words = words_of(shown)
    assert f"{hour} 40 3 0 1" in words
    assert "The slowest answer to Strava took 12 ms." in words
    assert f"<title>{hour}: 40 stored, 3 duplicate, 1 rejected</title>" in shown.text


def test_the_days_processing_times_are_drawn_and_listed(browser: Browser, engine: Engine) -> None:
    with engine.begin() as connection:
        for number, seconds in enumerate((2, 4, 90)):
            values = {
                "event_key": str(number), "source": "webhook", "subscription_id": 1, "object_type": "activity",
                "object_id": number, "aspect_type": "create", "owner_id": MIRA, "event_time": NOW, "updates": {},
                "signed": True, "state": "done", "received_at": NOW - timedelta(seconds=seconds), "finished_at": NOW,
            }  # fmt: skip
            connection.execute(insert(webhook_events).values(values))
    shown = browser.get("/")
    hour = f"{NOW:%H}:00"
    assert f"{hour} 3 4.0 s 90 s" in words_of(shown)
    assert f"<title>{hour}: median 4.0 s, longest 90 s</title>" in shown.text
