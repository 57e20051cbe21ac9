"""``athletes list|forget|renew-links``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test
from sqlalchemy import Engine, insert, select

from strava_pipeline.cli import cli
from strava_pipeline.cli.instance import open_instance
from strava_pipeline.defs.partitions import register_athlete
from strava_pipeline.errors import UnknownAthlete
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.sync.access import open_tokens
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.mail.consent import give_address
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.tables import activities, athletes
from strava_pipeline_tests.defs.own_definitions import NAMES
from strava_pipeline_tests.erasing import delete_some_rows
from strava_pipeline_tests.strava.loopback import Loopback, reply

RIDER = 1001
EXPIRED = {
    "message": "Authorization Error",
    "errors": [{"resource": "Athlete", "field": "access_token", "code": "invalid"}],
}
DEAD = {"message": "Bad Request", "errors": [{"resource": "RefreshToken", "field": "refresh_token", "code": "invalid"}]}


def run(*arguments: str, **how: Any) -> Result:
    return CliRunner().invoke(cli, ["athletes", *arguments], **how)


@pytest.fixture
def strava(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with Loopback() as loopback:
        monkeypatch.setenv("STRAVA_OAUTH_URL", f"{loopback.url}/oauth")
        yield loopback


@pytest.fixture
def rider(settings: Settings, engine: Engine) -> None:
    grant = TokenGrant(Secret("access-1"), Secret("refresh-1"), None, {"id": RIDER})
    open_tokens(settings, engine).connect(grant, ["read", "activity:read_all"])
    with engine.begin() as connection:
        connection.execute(
            insert(athletes).values(id=RIDER, firstname="Mira", lastname="[red]Bo", fetched_at="2025-06-01T00:00Z")
        )


@pytest.fixture
def forgotten(rider: None, strava: Loopback, dagster_database: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an installation whose Dagster knows the athlete."""
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", dagster_database)
    settings = load_settings()
    with open_instance(settings) as instance:
        register_athlete(instance, NAMES, RIDER)
    return settings


def partitions(settings: Settings) -> list[str]:
    with open_instance(settings) as instance:
        return list(instance.get_dynamic_partitions(NAMES.partition_set))


def user(engine: Engine) -> Any:
    with engine.connect() as connection:
        return connection.execute(select(users)).one()


def test_nobody_is_connected_says_what_to_do(settings: Settings) -> None:
    shown = run("list")
    assert shown.exit_code == 0
    assert "nobody is connected: run strava-pipeline connect" in shown.stdout
    assert json.loads(run("list", "--format", "json").stdout) == []


def test_list_shows_state_and_what_is_lacking(rider: None) -> None:
    shown = run("list")
    assert shown.exit_code == 0
    line = next(line for line in shown.stdout.splitlines() if str(RIDER) in line)
    assert "Mira [red]Bo" in line
    assert "active" in line
    assert "profile:read_all" in line
    entry = json.loads(run("list", "--format", "json").stdout)[0]
    assert (entry["athlete_id"], entry["activities"], entry["last_event_at"]) == (RIDER, 0, None)
    assert "access-1" not in shown.stdout


def test_disconnect_ends_the_grant_and_takes_everything(forgotten: Settings, engine: Engine, strava: Loopback) -> None:
    month = forgotten.home / "lake" / f"athlete_id={RIDER}" / "month=2025-06"
    month.mkdir(parents=True)
    shown = run("disconnect", str(RIDER), "--yes")
    assert shown.exit_code == 0, shown.output
    assert not month.parent.exists()
    assert "yours to delete" not in shown.stdout
    assert "1 rows deleted; webhook events that were waiting and now have no effect: 0\n" in shown.stdout
    assert [asked.path for asked in strava.asked] == ["/oauth/revoke"]
    assert strava.asked[0].form == {"token": "refresh-1"}
    row = user(engine)
    assert (row.state, row.strava_access_token, row.dagster_task) == ("revoked", None, None)
    assert partitions(forgotten) == []
    with engine.connect() as connection:
        found = connection.execute(select(operator_audit.c.actor, operator_audit.c.action)).all()
    assert [tuple(row) for row in found] == [("command", "disconnect"), ("command", "erase")]
    # Once more changes nothing, and asks Strava nothing.
    assert run("disconnect", str(RIDER), "--yes").exit_code == 0
    assert len(strava.asked) == 1


def test_disconnect_leaves_it_to_the_bridge_where_dagster_is_away_and_none_of_ours_was_here(
    rider: None, strava: Loopback, dagster_database: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a host's, in which the athlete has partitions and runs."""
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", dagster_database)
    shown = run("disconnect", str(RIDER), "--yes")
    assert shown.exit_code == 0, shown.output
    assert "the bridge deletes the athlete's partitions and runs" in shown.stderr
    assert (user(engine).state, user(engine).dagster_task) == ("revoked", "erase")


@pytest.fixture
def cut_off(forgotten: Settings, engine: Engine) -> dict[str, int]:
    """The athlete's data, of which a command that was killed has deleted some activities; returns their number."""
    with engine.begin() as connection:
        for number in range(3):
            row = {"id": number, "athlete_id": RIDER, "resource_state": 2, "name": "Ride", "type": "Ride"}
            row |= {"sport_type": "Ride", "start_date": f"2025-06-0{number + 1}T08:00Z"}
            connection.execute(insert(activities).values(row | {"fetched_at": "2025-06-09T00:00Z"}))
    begin_erasure(engine, RIDER, keep_data=False, actor=Actor.COMMAND, cause="a test")
    deleted = delete_some_rows(engine, RIDER, 1)
    assert not deleted.is_whole
    return {"deleted": deleted.deleted}


def test_once_more_goes_on_and_tells_what_was_deleted_in_all(cut_off: dict[str, int], engine: Engine) -> None:
    assert cut_off == {"deleted": 3}
    shown = run("disconnect", str(RIDER), "--yes")
    assert shown.exit_code == 0, shown.output
    assert "4 rows deleted; webhook events that were waiting and now have no effect: 0\n" in shown.stdout
    with engine.connect() as connection:
        assert connection.execute(select(athletes.c.id)).all() == []


@pytest.mark.usefixtures("cut_off")
def test_what_is_being_deleted_cannot_be_kept(engine: Engine) -> None:
    shown = run("disconnect", str(RIDER), "--keep-data", "--yes")
    assert shown.exit_code == 0, shown.output
    assert f"the data of athlete {RIDER} are being deleted already, and cannot be kept" in shown.stderr
    assert "4 rows deleted" in shown.stdout


@pytest.mark.usefixtures("cut_off")
def test_whoever_connects_again_is_rid_of_what_was_left(engine: Engine, strava: Loopback) -> None:
    tokens = {"access_token": "access-2", "refresh_token": "refresh-2", "expires_at": 4102444800}
    strava.answers(reply(tokens | {"athlete": {"id": RIDER, "firstname": "Mira"}}))
    shown = CliRunner().invoke(cli, ["connect", "--code", "c0de"])
    assert shown.exit_code == 0, shown.output
    assert user(engine).state == "active"
    with engine.connect() as connection:
        assert connection.execute(select(athletes.c.firstname, athletes.c.lastname)).all() == [("Mira", None)]


def runs(settings: Settings) -> list[str]:
    with open_instance(settings) as instance:
        return [run.run_id for run in instance.get_runs()]


def test_disconnect_deletes_dagsters_runs_as_soon_as_they_have_ended(forgotten: Settings, engine: Engine) -> None:
    with open_instance(forgotten) as instance:
        status = DagsterRunStatus.STARTED
        at_work = create_run_for_test(instance, tags={"strava/athlete": str(RIDER)}, status=status)
    shown = run("disconnect", str(RIDER), "--yes")
    assert "1 of the athlete's runs are still at work" in shown.stderr
    assert user(engine).dagster_task == "erase"
    with open_instance(forgotten) as instance:
        instance.report_run_failed(at_work)
    shown = run("disconnect", str(RIDER), "--keep-data", "--yes")
    assert (shown.stderr, runs(forgotten)) == ("", [at_work.run_id])
    shown = run("disconnect", str(RIDER), "--yes")
    assert (shown.stderr, runs(forgotten)) == ("", [])
    assert user(engine).dagster_task is None


def test_data_is_kept_on_request(forgotten: Settings, engine: Engine) -> None:
    assert run("disconnect", str(RIDER), "--keep-data", "--yes").exit_code == 0
    with engine.connect() as connection:
        assert connection.execute(select(athletes.c.id)).scalars().all() == [RIDER]


def test_an_expired_access_token_is_refreshed_where_only_that_ends_a_grant(
    forgotten: Settings, strava: Loopback
) -> None:
    tokens = {"access_token": "access-2", "refresh_token": "refresh-2", "expires_at": 4102444800}
    strava.answers(reply({}, 404), reply(EXPIRED, 401), reply(tokens), reply({}, 404), reply({}))
    shown = run("disconnect", str(RIDER), "--yes")
    assert shown.exit_code == 0, shown.output
    assert shown.stderr == ""
    assert [asked.path.rpartition("/")[2] for asked in strava.asked] == [
        "revoke", "deauthorize", "token", "revoke", "deauthorize",
    ]  # fmt: skip
    assert strava.asked[-1].form == {"access_token": "access-2"}


def test_a_dead_grant_needs_no_word_about_strava(forgotten: Settings, strava: Loopback) -> None:
    strava.answers(reply({}, 404), reply(EXPIRED, 401), reply(DEAD, 400))
    shown = run("disconnect", str(RIDER), "--yes")
    assert shown.exit_code == 0
    assert shown.stderr == ""


def test_a_strava_that_refuses_does_not_keep_the_athlete_here(
    forgotten: Settings, engine: Engine, strava: Loopback
) -> None:
    strava.answers(reply({"message": "Forbidden", "errors": []}, 403))
    shown = run("disconnect", str(RIDER), "--yes")
    assert shown.exit_code == 0
    assert "the grant still stands at Strava" in shown.stderr
    assert user(engine).state == "revoked"


def test_without_a_yes_nothing_happens(rider: None, engine: Engine, strava: Loopback) -> None:
    assert run("disconnect", str(RIDER), input="n\n").exit_code == 1
    assert user(engine).state == "active"
    assert strava.asked == []


def test_a_stranger_is_said_to_be_one(settings: Settings) -> None:
    shown = run("disconnect", "5", "--yes")
    assert isinstance(shown.exception, UnknownAthlete)


def test_the_operator_takes_the_links_in_mails_back(rider: None, engine: Engine) -> None:
    with engine.begin() as connection:
        give_address(connection, RIDER, "mira@example.org")
    before = user(engine)
    done = run("renew-links", str(RIDER))
    assert done.exit_code == 0
    assert done.stdout == f"athlete {RIDER}: all links that end the mails are canceled; the next mail has a new one\n"
    after = user(engine)
    assert after.unsubscribe_nonce != before.unsubscribe_nonce
    assert (after.email, after.email_nonce) == (before.email, before.email_nonce)
    with engine.connect() as connection:
        noted = connection.execute(select(operator_audit).where(operator_audit.c.action == "renew-links")).one()
    assert (noted.actor, noted.subject, noted.outcome) == ("command", f"athlete {RIDER}", "ok")


def test_links_that_nobody_has_cannot_be_taken_back(rider: None) -> None:
    refused = run("renew-links", str(RIDER))
    assert isinstance(refused.exception, UnknownAthlete)
    assert "has no address here" in str(refused.exception)


@pytest.mark.parametrize(("email", "told"), [(None, "none"), ("mira@example.org", "unconfirmed")])
def test_the_list_tells_whether_mails_go_out(rider: None, engine: Engine, email: str | None, told: str) -> None:
    if email is not None:
        with engine.begin() as connection:
            give_address(connection, RIDER, email)
    assert json.loads(run("list", "--format", "json").stdout)[0]["mails"] == told


def test_the_earlier_name_of_disconnect_is_told_but_not_listed() -> None:
    assert "forget" not in run("--help").output
    shown = run("forget", "7", "--yes")
    assert "use athletes disconnect" in shown.stderr
    assert str(shown.exception) == str(run("disconnect", "7", "--yes").exception)
