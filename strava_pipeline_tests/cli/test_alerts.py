"""``alerts`` lists what is on, silences a rule, and says what became of a test message."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, select, update

from strava_pipeline.cli import alerts as command
from strava_pipeline.cli import cli
from strava_pipeline.errors import ConfigurationError, StravaPipelineError
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline.warehouse.schema.alert_tables import alert_messages
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.quota_tables import outages
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.watch.test_evaluation import away
from strava_pipeline_tests.watch.watched import Watched


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["alerts", *arguments])


def output(*arguments: str) -> str:
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def audited(engine: Engine) -> list[tuple[str, str | None]]:
    c = operator_audit.c
    with engine.connect() as connection:
        return [(row.action, row.subject) for row in connection.execute(select(c.action, c.subject).order_by(c.id))]


@pytest.fixture
def watched(engine: Engine, settings: Settings) -> Watched:
    return Watched(engine, settings)


@pytest.mark.usefixtures("settings")
def test_nothing_is_on() -> None:
    listed = run("list")
    assert listed.stdout == "no alert is on\n"
    assert "nobody has looked for alerts yet: is a bridge running?" in listed.stderr
    assert json.loads(output("list", "--format", "json")) == []


def test_what_is_on_is_listed_with_its_silence(watched: Watched) -> None:
    watched.give_sign_of_life()
    watched.insert(outages, away("api"))
    watched.look()
    listed = output("list")
    assert "critical" in listed
    assert "Strava does not answer: the API: refused" in listed
    assert "strava_away: See https://status.strava.com. " in listed
    assert listed.endswith(" See docs/operations.md#strava-away\n")
    output("silence", "strava_away", "--for", "4h", "--because", "maintenance")
    told = run("list")
    assert "strava_away tells nothing until" in told.stderr
    assert "on the word of command: maintenance" in told.stderr
    (alert,) = json.loads(output("list", "--format", "json"))
    assert (alert["rule"], alert["severity"], alert["athlete_id"]) == ("strava_away", "critical", None)
    assert alert["silenced_until"] is not None


def test_a_silence_begins_and_ends_with_an_audit(watched: Watched) -> None:
    assert "disk_full tells nothing until" in output("silence", "disk-full", "--for", "2d", "--because", "known")
    assert output("silence", "disk_full", "--end") == "disk_full tells again\n"
    assert audited(watched.engine) == [("silence", "disk_full"), ("end_silence", "disk_full")]
    done = run("silence", "disk_full", "--end")
    assert isinstance(done.exception, ConfigurationError)
    assert "disk_full is not silenced" in str(done.exception)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("no_rule", "--for", "1h", "--because", "x"), "there is no rule no_rule: choose one of strava_away"),
        (("disk_full",), "give --for"),
        (("disk_full", "--for", "1h"), "give --for"),
        (("disk_full", "--for", "1h", "--end"), "--end takes neither"),
        (("disk_full", "--for", "91d", "--because", "x"), "90 days at most"),
    ],
)
def test_a_silence_needs_a_rule_an_end_and_a_reason(arguments: tuple[str, ...], told: str) -> None:
    done = run("silence", *arguments)
    assert isinstance(done.exception, ConfigurationError)
    assert told in str(done.exception)


def send(engine: Engine, **states: str | None) -> None:
    """What a bridge does with the one message of the outbox."""

    def is_there() -> bool:
        with engine.connect() as connection:
            return connection.execute(select(alert_messages.c.id)).first() is not None

    eventually(is_there, "a message")
    with engine.begin() as connection:
        connection.execute(update(alert_messages).values(finished_at=database_time(), **states))


def test_a_test_says_what_became_of_it_on_each_way(watched: Watched) -> None:
    with ThreadPoolExecutor(1) as bridge:
        sending = bridge.submit(
            send, watched.engine, mail_state="sent", push_state="failed", push_error="the service answered 500"
        )
        assert output("test") == "mail: sent\npush: failed, the service answered 500\n"
        sending.result()
    assert audited(watched.engine) == [("test_alerts", None)]


def test_a_test_that_reaches_nobody_fails(watched: Watched) -> None:
    with ThreadPoolExecutor(1) as bridge:
        sending = bridge.submit(send, watched.engine, mail_state="skipped", push_state="skipped")
        done = run("test")
        sending.result()
    assert done.stderr == "waiting 60 s at most for a bridge to send the message ...\n"
    assert done.stdout == "mail: not set up\npush: not set up\n"
    assert isinstance(done.exception, StravaPipelineError)
    assert "STRAVA_ALERT_TO" in str(done.exception)


@pytest.mark.usefixtures("settings")
def test_a_test_without_a_bridge_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "WAIT_SECONDS", timedelta(milliseconds=1).total_seconds())
    done = run("test")
    assert isinstance(done.exception, StravaPipelineError)
    assert "no bridge has sent the test message" in str(done.exception)
