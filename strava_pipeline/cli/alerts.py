"""``strava-pipeline alerts``: what is on, silences, and a test of the ways on which alerts are told."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from strava_pipeline.cli.ages import Age
from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import add_row, new_table, print_table, say, say_json
from strava_pipeline.errors import ConfigurationError, StravaPipelineError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from strava_pipeline.warehouse.watch.alert_rows import SentMessage
    from strava_pipeline.warehouse.watch.alerts import StandingAlert
    from strava_pipeline.watch.rules import Rule

# A bridge looks into the outbox every few seconds, and a mail server may take its time.
WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.2
LONGEST_SILENCE = timedelta(days=90)


@click.group()
def alerts() -> None:
    """List the alerts that are on, silence a rule, test how alerts are told."""


@alerts.command("list")
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
def list_alerts(form: str) -> None:
    """List the alerts that are on, with the athlete they concern, and silences."""
    from strava_pipeline.cli.reading import read
    from strava_pipeline.warehouse.watch.alert_rows import silences
    from strava_pipeline.warehouse.watch.alerts import standing_alerts, why_unwatched

    found, silenced, unwatched = read(
        command_settings(),
        lambda connection: (standing_alerts(connection), silences(connection), why_unwatched(connection)),
    )
    if form == "json":
        say_json([_as_json(alert) for alert in found])
    elif found:
        _print(found)
    else:
        click.echo("no alert is on")
    if unwatched:
        say(f"{unwatched}: is a bridge running?", err=True)
    for each in silenced:
        until = f"{each.until:%Y-%m-%d %H:%M} UTC"
        say(f"{each.rule} tells nothing until {until}, on the word of {each.silenced_by}: {each.because}", err=True)


@alerts.command()
@click.argument("rule")
@click.option("--for", "how_long", type=Age(), help="How long, such as 4h or 2d.")
@click.option("--because", help="Why; stands in the audit and in the list.")
@click.option("--end", is_flag=True, help="End the silence now.")
def silence(rule: str, how_long: timedelta | None, because: str | None, end: bool) -> None:
    """Let a RULE tell nothing for a while. Its alerts show all the same; what is on afterwards is told then."""
    name = _rule(rule).name
    if end:
        if how_long or because:
            raise ConfigurationError("--end takes neither --for nor --because: it ends the silence now")
        _end(name)
        return
    if not how_long or not because:
        raise ConfigurationError("give --for, such as 4h, and --because with the reason; or --end")
    if how_long > LONGEST_SILENCE:
        raise ConfigurationError(f"a rule can be silenced for {LONGEST_SILENCE.days} days at most")
    _begin(name, how_long, because)


@alerts.command()
def test() -> None:
    """Send a test message on each way that is set up, through a running bridge, and print what became of it."""
    from strava_pipeline.warehouse.migrate import open_warehouse

    with open_warehouse(command_settings()) as engine:
        message_id = _add_test(engine)
        say(f"waiting {WAIT_SECONDS:.0f} s at most for a bridge to send the message ...", err=True)
        sent = _sent(engine, message_id)
    if sent is None:
        raise StravaPipelineError(
            "no bridge has sent the test message: start one, which then sends it, or see the bridge's log"
        )
    for way, state, reason in (("mail", sent.mail_state, sent.mail_error), ("push", sent.push_state, sent.push_error)):
        told = "not set up" if state == "skipped" else state
        say(f"{way}: {told}{f', {reason}' if reason else ''}")
    if not sent.is_sent:
        raise StravaPipelineError(
            "the test message reached nobody: set STRAVA_ALERT_TO or STRAVA_ALERT_URLS, restart the bridge, and run"
            " strava-pipeline doctor"
        )


def _rule(name: str) -> Rule:
    from strava_pipeline.watch.rules import RULES_BY_NAME

    # The docs' headings have dashes.
    rule = RULES_BY_NAME.get(name.replace("-", "_"))
    if rule is None:
        raise ConfigurationError(f"there is no rule {name}: choose one of {', '.join(RULES_BY_NAME)}")
    return rule


def _begin(name: str, how_long: timedelta, because: str) -> None:
    from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
    from strava_pipeline.warehouse.engine import now
    from strava_pipeline.warehouse.migrate import open_warehouse
    from strava_pipeline.warehouse.watch import alert_rows

    with open_warehouse(command_settings()) as engine, engine.begin() as connection:
        alert_rows.lock_alerts(connection)
        until = now(connection) + how_long
        alert_rows.silence(connection, name, until, by=Actor.COMMAND, because=because)
        detail = f"until {until:%Y-%m-%d %H:%M} UTC: {because}"
        note_action(connection, Actor.COMMAND, "silence", name, detail=detail)
    say(f"{name} tells nothing until {until:%Y-%m-%d %H:%M} UTC")


def _end(name: str) -> None:
    from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
    from strava_pipeline.warehouse.migrate import open_warehouse
    from strava_pipeline.warehouse.watch import alert_rows

    with open_warehouse(command_settings()) as engine, engine.begin() as connection:
        alert_rows.lock_alerts(connection)
        if not alert_rows.end_silence(connection, name):
            raise ConfigurationError(f"{name} is not silenced")
        note_action(connection, Actor.COMMAND, "end_silence", name)
    say(f"{name} tells again")


def _add_test(engine: Engine) -> int:
    from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
    from strava_pipeline.warehouse.states import AlertChange, Severity
    from strava_pipeline.warehouse.watch.alert_rows import NewMessage, add_messages

    subject = "Test: alerts of strava-pipeline reach you"
    body = "This message was asked for by strava-pipeline alerts test. Nothing is wrong, and nothing is to be done."
    with engine.begin() as connection:
        (message_id,) = add_messages(connection, [NewMessage(AlertChange.TEST, Severity.WARNING, subject, body)])
        note_action(connection, Actor.COMMAND, "test_alerts", None)
    return message_id


def _sent(engine: Engine, message_id: int) -> SentMessage | None:
    """What became of a message, once a bridge has sent it; ``None`` if none does."""
    from strava_pipeline.warehouse.engine import autocommit
    from strava_pipeline.warehouse.watch.alert_rows import message_sent

    ends_at = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < ends_at:
        with autocommit(engine) as connection:
            sent = message_sent(connection, message_id)
        if sent is not None:
            return sent
        time.sleep(_LOOK_SECONDS)
    return None


def _print(found: list[StandingAlert]) -> None:
    from strava_pipeline.watch.rules import DOCS, RULES_BY_NAME

    table = new_table(["severity", "rule", "athlete", "since (UTC)", "what", "silenced until (UTC)"], numeric=[2])
    for alert in found:
        rule = RULES_BY_NAME.get(alert.rule)
        add_row(
            table,
            rule.severity if rule else "",
            alert.rule,
            str(alert.athlete_id or ""),
            f"{alert.since:%Y-%m-%d %H:%M}",
            f"{rule.summary}: {alert.detail}" if rule else alert.detail,
            f"{alert.silenced_until:%Y-%m-%d %H:%M}" if alert.silenced_until else "",
        )
    print_table(table)
    for name in dict.fromkeys(alert.rule for alert in found):
        rule = RULES_BY_NAME.get(name)
        if rule:
            say(f"{name}: {rule.what_to_do} See {DOCS}#{rule.anchor}")


def _as_json(alert: StandingAlert) -> dict[str, Any]:
    from strava_pipeline.watch.rules import RULES_BY_NAME

    rule = RULES_BY_NAME.get(alert.rule)
    return {
        "rule": alert.rule,
        "severity": rule.severity if rule else None,
        "athlete_id": alert.athlete_id or None,
        "since": alert.since,
        "fired_at": alert.fired_at,
        "silenced_until": alert.silenced_until,
        "detail": alert.detail,
        "what_to_do": rule.what_to_do if rule else None,
    }
