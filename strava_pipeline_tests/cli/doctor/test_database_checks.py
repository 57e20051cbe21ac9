"""The tables' database: stopped, empty, of another version, with other keys, or with logins that may too much."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from pydantic import SecretStr
from sqlalchemy import Engine, make_url, text

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.doctor import database_checks
from strava_pipeline.cli.doctor.findings import Verdict
from strava_pipeline.keyring import generate_key
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings
from strava_pipeline.settings_values import EMBEDDED
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.sync.access import open_tokens
from strava_pipeline.warehouse.access.made_logins import create_login
from strava_pipeline.warehouse.access.rights import grant as grant_rights
from strava_pipeline.warehouse.migrate import HEAD
from strava_pipeline.warehouse.schema.grant_tables import key_checks
from strava_pipeline.warehouse.upkeep.due import add_missing
from strava_pipeline_tests.conftest import SETTINGS
from strava_pipeline_tests.doctor_checks import finding_of, findings_of, told_by
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.moody_server import MoodyDatabase, MoodyServer
from strava_pipeline_tests.pgbouncer import Pooling, pgbouncer
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.streaming_replica import StreamingReplica


def connect(settings: Settings, engine: Engine, *athletes: int) -> None:
    """Athletes with tokens, encrypted with the keys of the settings."""
    store = open_tokens(settings, engine)
    for athlete in athletes:
        grant = TokenGrant(Secret("canary-access"), Secret("canary-refresh"), None, {"id": athlete})
        store.connect(grant, ["read"])


@pytest.mark.usefixtures("settings")
def test_a_database_that_is_well_is_told_with_its_version_and_login() -> None:
    verdict, message = told_by("database")
    assert verdict is Verdict.OK
    assert "answers: Postgres 18." in message
    assert f"login {Login.PIPELINE}" in message
    assert told_by("tables") == (Verdict.OK, f"at revision {HEAD}, the newest of this version")
    assert told_by("database version") == (Verdict.OK, "Postgres 15 to 18 are supported")
    assert told_by("database clock") == (Verdict.OK, "within 2 s of the database's")
    assert told_by("replica")[0] is Verdict.OK


def test_a_pooler_is_told_with_what_that_means(server: Server, database: str, settings: Settings) -> None:
    with pgbouncer(server, Pooling()) as bouncer:
        pooled = settings.model_copy(update={"database_url": SecretStr(bouncer.address(database))})
        found = findings_of("database", pooled)
    assert [finding.verdict for finding in found] == [Verdict.OK, Verdict.OK]
    assert " is a pooler, which passes on no options: " in found[1].message


@pytest.mark.usefixtures("settings")
def test_a_clock_that_is_off_from_the_databases_is_found() -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=5)):
        verdict, message = told_by("database clock")
    assert verdict is Verdict.FAIL
    assert message.endswith(" s ahead of the database's")


def test_a_server_that_does_not_listen_is_a_fault() -> None:
    nowhere = Settings(database_url=f"postgresql://rider:canary@127.0.0.1:{free_port()}/strava")
    finding = finding_of("database", nowhere)
    assert finding.verdict is Verdict.FAIL
    assert "is away" in finding.message
    assert "canary" not in finding.message
    assert finding.what_to_do == "start Postgres, or correct STRAVA_DATABASE_URL"


def test_an_embedded_postgres_that_is_not_there_yet_is_no_fault() -> None:
    settings = command_settings()
    finding = finding_of("database", settings)
    assert finding.verdict is Verdict.WARN
    assert finding.message == f"the embedded Postgres is not there yet ({settings.home}/postgres)"
    assert not settings.home.exists()


def test_an_embedded_postgres_that_is_stopped_is_told_and_not_started(own_server: MoodyServer) -> None:
    settings = Settings(home=own_server.home, database_url=EMBEDDED)
    assert told_by("tables", settings) == (Verdict.WARN, "there are no tables yet")
    own_server.stop()
    before = sorted((path, path.lstat().st_mtime_ns) for path in own_server.home.rglob("*"))
    finding = finding_of("database", settings)
    assert finding.verdict is Verdict.FAIL
    assert finding.message == f"the embedded Postgres does not run ({own_server.home}/postgres)"
    assert finding.what_to_do == "start it with strava-pipeline up, and run doctor again"
    assert told_by("Dagster's database", settings)[0] is Verdict.WARN
    assert sorted((path, path.lstat().st_mtime_ns) for path in own_server.home.rglob("*")) == before
    own_server.start()


def test_a_database_that_became_a_replica_is_a_fault(moody: MoodyDatabase) -> None:
    moody.on.become_replica()
    verdict, message = told_by("database", Settings(database_url=moody.address))
    assert verdict is Verdict.FAIL
    assert "accepts no writes" in message


def test_tables_that_are_not_there_behind_or_ahead_say_what_to_do(
    settings: Settings, owner_engine: Engine, empty_database: str
) -> None:
    empty = finding_of("tables", Settings(database_url=empty_database))
    assert (empty.verdict, empty.message) == (Verdict.WARN, "there are no tables yet")
    assert "strava-pipeline migrate" in empty.what_to_do
    for revision, says in (("0030", "run strava-pipeline migrate"), ("9999", "newest installed version")):
        with owner_engine.begin() as connection:
            connection.execute(text("UPDATE ops.alembic_version SET version_num = :it"), {"it": revision})
        verdict, message = told_by("tables", settings)
        assert verdict is Verdict.FAIL
        assert f"at revision {revision}, this program needs {HEAD}" in message
        assert says in message


def test_a_postgres_that_is_too_old_or_untried_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_checks, "OLDEST_VERSION", 19)
    finding = finding_of("database", settings)
    assert finding.verdict is Verdict.FAIL
    assert finding.what_to_do == "upgrade it: version 19 or later is needed"
    monkeypatch.setattr(database_checks, "NEWEST_TRIED_VERSION", 17)
    assert told_by("database version", settings)[0] is Verdict.WARN


def test_tokens_that_can_be_decrypted_are_told_and_no_key_is_noted(settings: Settings, engine: Engine) -> None:
    assert told_by("stored tokens") == (Verdict.OK, "0 connected athletes, the tokens of each can be decrypted")
    with engine.connect() as connection:
        assert connection.execute(key_checks.select()).all() == []
    connect(settings, engine, 1, 2)
    assert told_by("stored tokens") == (Verdict.OK, "2 connected athletes, the tokens of each can be decrypted")


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (f"other:{generate_key().partition(':')[2]}", "STRAVA_TOKEN_KEYS lacks key"),
        (f"{SETTINGS['STRAVA_TOKEN_KEYS'].partition(':')[0]}:{generate_key().partition(':')[2]}", "is not the key"),
    ],
    ids=["lacking", "another"],
)
def test_keys_other_than_those_of_the_stored_tokens_are_a_fault(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch, keys: str, says: str
) -> None:
    connect(settings, engine, 1)
    monkeypatch.setenv("STRAVA_TOKEN_KEYS", keys)
    verdict, message = told_by("stored tokens")
    assert verdict is Verdict.FAIL
    assert says in message
    assert keys.partition(":")[2] not in message


@pytest.mark.usefixtures("settings")
def test_more_athletes_than_upkeep_can_serve_are_told_of(engine: Engine) -> None:
    connect_riders(engine, *range(1, 31), state="active")
    with engine.begin() as connection:
        add_missing(connection)
    finding = finding_of("upkeep")
    assert finding.verdict is Verdict.WARN
    assert "30 athletes need 210 requests a day" in finding.message
    assert "they need 1.4 times that" in finding.message
    assert "STRAVA_UPKEEP_SHARE" in finding.what_to_do


def test_a_database_login_that_may_too_much_is_a_warning(
    settings: Settings, server: Server, database_name: str
) -> None:
    verdict, message = told_by("logins")
    assert verdict is Verdict.OK
    assert message.startswith("strava_pipeline for the pipeline, strava_sql")
    administrator = server.set_up_url(database_name)
    finding = finding_of("logins", Settings(database_url=administrator))
    assert finding.verdict is Verdict.WARN
    assert "postgres has more rights than the pipeline needs (SUPERUSER, CREATEROLE" in finding.message
    assert "STRAVA_DATABASE_OWNER_URL" in finding.what_to_do


def test_a_login_without_rights_on_a_table_is_a_fault(settings: Settings, owner_engine: Engine) -> None:
    with owner_engine.begin() as connection:
        connection.exec_driver_sql("REVOKE INSERT ON ops.webhook_events, strava.gear FROM strava_pipeline")
    finding = finding_of("logins", settings)
    assert finding.verdict is Verdict.FAIL
    assert finding.message == "strava_pipeline may not read and write 2 of our tables: ops.webhook_events, strava.gear"
    assert finding.what_to_do == "run strava-pipeline migrate"


@pytest.mark.usefixtures("settings")
def test_connections_that_analysts_may_take_are_a_warning(
    admin_engine: Engine, server: Server, database_name: str
) -> None:
    with admin_engine.begin() as connection:
        create_login(connection, "unreserved", "the-secret-of-it")
        grant_rights(connection, "unreserved", Login.PIPELINE)
    url = make_url(server.url(database_name, Login.SQL)).set(username="unreserved", password="the-secret-of-it")
    unreserved = Settings(database_url=url.render_as_string(hide_password=False))
    verdict, message = told_by("logins", unreserved)
    grant_of_it = "GRANT pg_use_reserved_connections TO unreserved"
    assert verdict is Verdict.WARN
    assert message.endswith(f"analysts may take every connection: run {grant_of_it} as an administrator")
    with admin_engine.begin() as connection:
        connection.exec_driver_sql(grant_of_it)
    assert told_by("logins", unreserved)[0] is Verdict.OK
    with admin_engine.begin() as connection:
        connection.exec_driver_sql("DROP OWNED BY unreserved; DROP ROLE unreserved")


def test_a_login_for_migrations_that_does_not_own_the_tables_is_a_fault(
    settings: Settings, server: Server, database_name: str
) -> None:
    owner = settings.model_copy(update={"database_owner_url": SecretStr(server.url(database_name, Login.OWNER))})
    assert told_by("logins", owner)[0] is Verdict.OK
    wrong = settings.model_copy(update={"database_owner_url": SecretStr(server.url(database_name, Login.SQL))})
    told = findings_of("logins", wrong)
    assert [finding.verdict for finding in told] == [Verdict.OK, Verdict.FAIL]
    assert told[1].message == "STRAVA_DATABASE_OWNER_URL logs in as strava_sql, and the tables belong to strava_owner"


def test_a_login_for_sql_that_was_never_made_is_a_warning(settings: Settings) -> None:
    without = settings.model_copy(update={"sql_database_url": None})
    told = findings_of("logins", without)
    assert [finding.verdict for finding in told] == [Verdict.OK, Verdict.WARN]
    assert "sql has no login of its own" in told[1].message


def test_a_replica_that_was_promoted_is_a_warning(moody: MoodyDatabase, replica: StreamingReplica) -> None:
    address = replica.server.url(moody.name, Login.PIPELINE)
    following = Settings(database_url=moody.address, database_replica_url=address)
    verdict, message = told_by("replica", following)
    assert verdict is Verdict.OK
    assert message.startswith(f"{replica.server.socket_dir}/{moody.name}, as of 20")
    itself = Settings(database_url=moody.address, database_replica_url=moody.address)
    finding = finding_of("replica", itself)
    assert finding.verdict is Verdict.WARN
    assert "follows no primary" in finding.message
    replica.stop()
    assert told_by("replica", following)[0] is Verdict.FAIL
