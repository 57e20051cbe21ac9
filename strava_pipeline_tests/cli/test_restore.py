"""``backup`` and ``restore load|begin|check``: from one database into another, and what each says."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from strava_pipeline.cli import cli
from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.keyring import Keyring
from strava_pipeline.local import dumps
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.erasing import finish_erasure
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.addresses import parse_url
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.backups import Backup
from strava_pipeline.warehouse.engine import ensure_dagster_url
from strava_pipeline.warehouse.mail.mail_queue import queue_for_athlete
from strava_pipeline.warehouse.migrate import HEAD
from strava_pipeline.warehouse.quota.ledger import PostgresLedger
from strava_pipeline.warehouse.restored import settle_here
from strava_pipeline.warehouse.states import MailKind
from strava_pipeline_tests.conftest import EMPTY, new_database, opened
from strava_pipeline_tests.doctor_checks import told_by
from strava_pipeline_tests.erasing import OTHER, data_of, two_whole_athletes
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.pgbouncer import Pooling, pgbouncer
from strava_pipeline_tests.strava.loopback import UNAUTHORIZED, Answer, Asked, Loopback, reply
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.warm_processes import COMMAND, WarmProcesses

# Postgres' programs for dumps.
pytestmark = pytest.mark.processes
LONGEST, NO_WAIT = timedelta(seconds=10), timedelta()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def said(*arguments: str) -> str:
    """What a command that must succeed prints."""
    done = run(*arguments)
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
    return done.output


@pytest.fixture
def strava(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with Loopback() as loopback:
        monkeypatch.setenv("STRAVA_API_URL", f"{loopback.url}/api/v3")
        monkeypatch.setenv("STRAVA_OAUTH_URL", f"{loopback.url}/oauth")
        loopback.answers(reply({"id": RIDER, "resource_state": 3}))
        yield loopback


@pytest.fixture
def backed_up(
    settings: Settings,
    server: Server,
    database_name: str,
    dagster_database: str,
    engine: Engine,
    keyring: Keyring,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Path:
    """A backup of two athletes, who have called Strava, and of a table in Dagster's database."""
    monkeypatch.setenv("STRAVA_DATABASE_OWNER_URL", server.url(database_name, Login.OWNER))
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", dagster_database)
    two_whole_athletes(engine, keyring)
    PostgresLedger(engine, RateLimits.from_settings(settings)).reserve(
        Lane.LIVE, "/athlete", None, longest=LONGEST, max_wait=NO_WAIT
    )
    with opened(dagster_database) as theirs, theirs.begin() as connection:
        connection.execute(text("CREATE TABLE runs AS SELECT 'a run of before' AS id"))
    said("backup", str(tmp_path / "backups"))
    (made,) = (tmp_path / "backups").iterdir()
    # A second one within the same second would be refused.
    return made.rename(made.with_name("20200101T000000Z"))


@pytest.fixture
def elsewhere(server: Server, backed_up: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Two empty databases, to which the settings point; an engine for the tables' one."""
    with ExitStack() as held:
        ours = held.enter_context(new_database(server, EMPTY))
        theirs = held.enter_context(new_database(server, EMPTY, Login.DAGSTER))
        monkeypatch.setenv("STRAVA_DATABASE_URL", server.url(ours, Login.PIPELINE))
        monkeypatch.setenv("STRAVA_DATABASE_OWNER_URL", server.url(ours, Login.OWNER))
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", server.url(theirs, Login.DAGSTER))
        yield held.enter_context(opened(server.url(ours, Login.PIPELINE)))


def leave(engine: Engine, athlete: int) -> None:
    """An athlete leaves, and nothing is left of them."""
    begin_erasure(engine, athlete, keep_data=False, actor=Actor.OPERATOR, cause="a test")
    finish_erasure(load_settings(), engine, athlete)


def refusing(refresh: Answer) -> Callable[[Asked], Answer]:
    """Strava refuses each access token, and answers each refresh so."""
    return lambda asked: refresh if asked.path.endswith("/token") else UNAUTHORIZED


def test_a_backup_says_what_it_holds_and_which_keys_it_needs(backed_up: Path) -> None:
    note = json.loads((backed_up / "backup.json").read_text())
    assert (note["revision"], note["key_ids"], note["has_dagster"]) == (HEAD, [note["key_ids"][0]], True)
    assert sorted(path.name for path in backed_up.iterdir()) == ["backup.json", "dagster.dump", "tables.dump"]
    modes = {path.stat().st_mode & 0o777 for path in (backed_up, *backed_up.iterdir())}
    assert modes == {0o700, 0o600}


def test_a_backup_that_fails_leaves_nothing(
    backed_up: Path, monkeypatch: pytest.MonkeyPatch, dagster_database: str
) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", re.sub(r"/test_\w+", "/not_there", dagster_database))
    failed = run("backup", str(backed_up.parent))
    assert isinstance(failed.exception, WarehouseError)
    assert list(backed_up.parent.iterdir()) == [backed_up]


def test_no_password_of_an_address_is_in_a_programs_arguments(backed_up: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = os.environ["STRAVA_DATABASE_OWNER_URL"]
    monkeypatch.setenv("STRAVA_DATABASE_OWNER_URL", f"{address}&sslpassword=canary")
    refused = run("backup", str(backed_up.parent))
    assert isinstance(refused.exception, ConfigurationError)
    assert "sslpassword" in str(refused.exception)
    assert "canary" not in str(refused.exception)
    assert list(backed_up.parent.iterdir()) == [backed_up]


def test_a_folder_that_a_killed_backup_left_goes_with_the_next_one(backed_up: Path) -> None:
    left = backed_up.parent / f".{backed_up.name}.17.part"
    left.mkdir()
    (left / "tables.dump").touch()
    said("backup", str(backed_up.parent), "--without-dagster")
    assert not left.exists()
    (made,) = set(backed_up.parent.iterdir()) - {backed_up}
    assert sorted(path.name for path in made.iterdir()) == ["backup.json", "tables.dump"]


def test_a_backup_is_loaded_into_empty_databases_and_checked(
    backed_up: Path, elsewhere: Engine, engine: Engine, strava: Loopback
) -> None:
    assert "nothing calls Strava until" in said("restore", "load", str(backed_up))
    assert data_of(elsewhere, RIDER) == data_of(engine, RIDER)
    theirs_now = parse_url(ensure_dagster_url(load_settings()), "the address")
    with opened(theirs_now) as theirs, theirs.connect() as connection:
        assert connection.execute(text("SELECT id FROM runs")).scalar() == "a run of before"
    assert "strava-pipeline restore check" in str(run("api", "/athlete", "--athlete", str(RIDER)).exception)
    assert strava.asked == []
    assert told_by("restore")[1].startswith("the tables were restored from a backup")
    refused = run("restore", "check")
    assert isinstance(refused.exception, ConfigurationError)
    assert "there is no list of erasures at" in str(refused.exception)
    told = said("restore", "check", "--no-erasures")
    assert "passed: 2 connected, 0 must connect again, 0 erased again; calls to Strava go on" in told
    assert len(strava.asked) == 2
    assert "nothing to check" in said("restore", "check")
    assert told_by("restore")[1] == "none is unfinished: the tables belong to this database"


def test_who_left_since_is_gone_again_and_whose_token_is_dead_is_named(
    backed_up: Path, elsewhere: Engine, engine: Engine, strava: Loopback
) -> None:
    leave(engine, OTHER)
    said("restore", "load", str(backed_up))
    assert data_of(elsewhere, OTHER)
    dead = {"resource": "RefreshToken", "field": "refresh_token", "code": "invalid"}
    strava.answer = refusing(reply({"message": "Bad Request", "errors": [dead]}, 400))
    told = said("restore", "check")
    assert f"athlete {OTHER} had left after the backup: erased again" in told
    assert re.search(rf"athlete {RIDER}.* must connect again", told)
    assert "passed: 0 connected, 1 must connect again, 1 erased again" in told
    assert data_of(elsewhere, OTHER) == {}


def test_a_check_that_is_killed_goes_on(
    backed_up: Path, elsewhere: Engine, strava: Loopback, warm_processes: WarmProcesses
) -> None:
    said("restore", "load", str(backed_up))
    asked: list[Asked] = []

    def hang(request: Asked) -> Answer:
        asked.append(request)
        if len(asked) > 1:
            strava.ending.wait(PATIENCE_SECONDS)
        return reply({"id": RIDER, "resource_state": 3})

    strava.answer = hang
    process = warm_processes.start(COMMAND, "restore", "check", "--no-erasures", env=os.environ)
    eventually(lambda: len(asked) == 2, "the second athlete is asked for")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_SECONDS)
    strava.answers(reply({"id": RIDER, "resource_state": 3}))
    strava.asked.clear()
    told = said("restore", "check", "--no-erasures")
    assert "going on with the check that was begun" in told
    assert "passed: 2 connected" in told
    assert len(strava.asked) == 1


def test_a_database_that_is_not_empty_is_left_as_it_is(backed_up: Path, engine: Engine) -> None:
    before = data_of(engine, RIDER)
    refused = run("restore", "load", str(backed_up))
    assert isinstance(refused.exception, ConfigurationError)
    assert "is not empty" in str(refused.exception)
    assert data_of(engine, RIDER) == before


def test_the_very_database_emptied_and_loaded_again_is_held_until_a_check(
    backed_up: Path, server: Server, database_name: str, engine: Engine, strava: Loopback
) -> None:
    with opened(server.url(database_name, Login.OWNER)) as owner, owner.begin() as connection:
        connection.execute(text("DROP SCHEMA strava, ops CASCADE"))
    told = said("restore", "load", str(backed_up), "--without-dagster")
    assert "brought back by the backup: ended" in told
    assert "strava-pipeline restore check" in str(run("api", "/athlete", "--athlete", str(RIDER)).exception)
    assert strava.asked == []
    assert "passed: 2 connected" in said("restore", "check", "--no-erasures")


def test_neither_a_backup_nor_a_restore_goes_through_a_pooler(
    backed_up: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusal(*command: str) -> str:
        refused = run(*command)
        assert isinstance(refused.exception, ConfigurationError)
        return str(refused.exception)

    with pgbouncer(server, Pooling()) as pooler:
        for setting in ("DAGSTER_POSTGRES_URL", "STRAVA_DATABASE_OWNER_URL"):
            monkeypatch.setenv(setting, pooler.address(os.environ[setting]))
            told = refusal("backup", str(backed_up.parent))
            assert " is a pooler, where pg_dump would leave its settings to others" in told
            assert told.endswith(f"name the server itself for this command, by {setting}")
        assert " is a pooler" in refusal("restore", "load", str(backed_up))
    assert list(backed_up.parent.iterdir()) == [backed_up]


def test_a_restore_that_dies_in_between_loads_all_or_nothing(
    backed_up: Path, elsewhere: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (backed_up / "tables.dump").read_bytes()
    (backed_up / "tables.dump").write_bytes(whole[: len(whole) // 2])
    failed = run("restore", "load", str(backed_up))
    assert isinstance(failed.exception, WarehouseError)
    assert "pg_restore failed" in str(failed.exception)
    (backed_up / "tables.dump").write_bytes(whole)
    # Dagster's is there already.
    assert "is not empty" in str(run("restore", "load", str(backed_up)).exception)
    said("restore", "load", str(backed_up), "--without-dagster")
    assert data_of(elsewhere, RIDER)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"revision": "9999"}, "was made by a newer program"),
        ({"form": 2}, "was made by a newer program"),
        ({"surprise": 1}, "holds no whole backup"),
    ],
)
def test_a_note_of_another_program_is_refused(
    settings: Settings, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    note = Backup("2026-11-30T16:41:05Z", "1.0", HEAD, "18.1", [], has_dagster=False)
    (tmp_path / "backup.json").write_text(json.dumps(asdict(note) | change))
    assert words in str(run("restore", "load", str(tmp_path)).exception)


def test_a_restore_into_the_same_database_is_said(
    settings: Settings, engine: Engine, keyring: Keyring, strava: Loopback
) -> None:
    two_whole_athletes(engine, keyring)
    assert "run strava-pipeline restore begin first" in said("restore", "check")
    assert "nothing calls Strava until" in said("restore", "begin")
    assert "passed: 2 connected" in said("restore", "check", "--no-erasures")


def test_a_move_asks_strava_nothing(settings: Settings, engine: Engine, keyring: Keyring, strava: Loopback) -> None:
    two_whole_athletes(engine, keyring)
    said("restore", "begin")
    assert "passed: 2 connected" in said("restore", "check", "--no-erasures", "--nothing-lost")
    assert strava.asked == []


def test_what_waits_to_be_sent_survives_a_move(
    settings: Settings, engine: Engine, keyring: Keyring, strava: Loopback
) -> None:
    two_whole_athletes(engine, keyring)
    with engine.begin() as connection:
        queue_for_athlete(connection, RIDER, MailKind.RECONNECT)
        settle_here(connection)
        connection.execute(text("UPDATE ops.database_identity SET system_identifier = 4711"))
    assert "passed: 2 connected" in said("restore", "check", "--no-erasures", "--nothing-lost")
    with engine.connect() as connection:
        states = text("SELECT state FROM ops.notifications WHERE kind = :kind")
        assert connection.execute(states, {"kind": MailKind.RECONNECT}).scalars().all() == ["pending"]


def test_a_list_whose_key_is_gone_is_not_passed_over(
    settings: Settings, engine: Engine, keyring: Keyring, strava: Loopback, tmp_path: Path
) -> None:
    two_whole_athletes(engine, keyring)
    said("restore", "begin")
    place = tmp_path / "brought-along"
    place.mkdir()
    (place / f"20261130T164105.250000Z.erased.lost.{'0' * 64}").touch()
    refused = run("restore", "check", "--erasures", str(place))
    assert "entries of key lost, which STRAVA_TOKEN_KEYS lacks" in str(refused.exception)


def test_doctor_sees_who_came_back_though_nobody_said_that_there_was_a_restore(
    settings: Settings, engine: Engine, keyring: Keyring, owner_engine: Engine
) -> None:
    two_whole_athletes(engine, keyring)
    assert told_by("list of erasures")[1].startswith("nobody has left so far")
    leave(engine, OTHER)
    assert told_by("list of erasures")[1].startswith("1 departures at")
    with owner_engine.begin() as connection:
        connection.execute(text("UPDATE ops.users SET state = 'active', dagster_task = NULL"))
    assert told_by("list of erasures")[1].startswith("1 athletes who have left are in the tables")


def test_a_program_of_postgres_that_is_too_old_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps, "programs_folder", lambda: None)
    address = dumps.Address.of({"dbname": "strava", "password": "p@ss:w/rd"})
    assert "p@ss" not in address.conninfo
    with pytest.raises(ConfigurationError, match="pg_dump of version 99 or newer is needed"):
        dumps.dump(address, 99, Path("nowhere"))
