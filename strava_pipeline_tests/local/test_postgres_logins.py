"""The embedded Postgres lets in only who has a secret, set up anew after any crash and for data of earlier versions."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL, create_engine, make_url, text

from strava_pipeline import redaction
from strava_pipeline.errors import ConfigurationError, DatabaseUnavailable, WarehouseError
from strava_pipeline.local import postgres, postgres_logins
from strava_pipeline.local.logins import SUPERUSER, Login, embedded_secrets_file
from strava_pipeline.local.postgres import Server, release_server, use_server, using_server
from strava_pipeline.local.server_user import administrators, let_server_user_traverse, server_ids
from strava_pipeline.settings import Settings
from strava_pipeline.settings_values import EMBEDDED
from strava_pipeline.warehouse.engine import ensure_database_url, open_engine
from strava_pipeline.warehouse.migrate import check_migrated, migrate, open_warehouse, prepare
from strava_pipeline_tests.local.test_postgres import Holder

OF_AN_EARLIER_DAGSTER = """
CREATE TYPE public.kind AS ENUM ('a', 'b');
CREATE TABLE public.runs (id bigserial PRIMARY KEY, kind public.kind, body text);
CREATE SEQUENCE public.numbers;
CREATE FUNCTION public.one() RETURNS int LANGUAGE sql AS 'SELECT 1';
INSERT INTO public.runs (kind, body) VALUES ('a', 'kept')
"""


def value(url: str | URL, statement: str) -> object:
    """The first value a statement gives to whoever the address names."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with engine.begin() as connection:
            found = connection.execute(text(statement))
            return found.scalar() if found.returns_rows else None
    finally:
        engine.dispose()


@pytest.fixture
def home(new_home: Callable[[], Path]) -> Iterator[Path]:
    folder = new_home()
    yield folder
    release_server(folder)


def make_as_earlier(home: Path) -> None:
    """Data as the version before made them: everybody is trusted, and everything the superuser's."""
    fresh = home / "postgres"
    fresh.mkdir(mode=0o700)
    os.chown(fresh, *server_ids())
    let_server_user_traverse(fresh)
    made = postgres._command(home, "initdb", "-D", str(fresh), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8")
    assert made.returncode == 0, made.stdout
    options = f"-c listen_addresses='' -c unix_socket_directories='{fresh}' -p {postgres.PORT}"
    postgres._pg_ctl(home, "start", "-w", "-l", str(fresh / "server.log"), "-o", options)
    server = Server(fresh)
    for name in ("strava", "strava_dagster"):
        with postgres_logins.as_superuser(fresh, postgres.PORT) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
    engine = open_engine(make_url(server.set_up_url("strava")))
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO ops.webhook_events (event_key, source, subscription_id, object_type,"
                " object_id, aspect_type, owner_id, event_time, updates, signed, state)"
                " VALUES ('k', 'webhook', 1, 'activity', 1, 'create', 1, now(), '{}', true, 'done')"
            )
        )
    engine.dispose()
    value(server.set_up_url("strava_dagster"), OF_AN_EARLIER_DAGSTER)
    postgres._pg_ctl(home, "stop", "-m", "fast", "-w")


@pytest.fixture(scope="module")
def earlier(new_home: Callable[[], Path]) -> Path:
    home = new_home()
    make_as_earlier(home)
    return home


@pytest.fixture
def earlier_home(earlier: Path, home: Path) -> Path:
    """A home of the version before."""
    subprocess.run(["/bin/cp", "-a", str(earlier / "postgres"), str(home)], check=True)
    return home


def test_each_login_needs_its_secret_and_the_superuser_is_who_runs_the_server(home: Path) -> None:
    with using_server(home) as server:
        for login in Login:
            database = "strava_dagster" if login is Login.DAGSTER else "strava"
            if login is not Login.SQL_AS_ANALYST:  # comes in with the analysts' role
                assert value(server.url(database, login), "SELECT session_user") == login
            right = make_url(server.url(database, login))
            for wrong in (right.set(password="wrong-secret"), right._replace(password=None)):
                with pytest.raises(Exception, match=r"password authentication failed|no password supplied"):
                    value(wrong, "SELECT 1")
        assert value(server.set_up_url("postgres"), "SELECT session_user") == SUPERUSER
    rules = (home / "postgres" / "pg_hba.conf").read_text()
    assert "trust" not in rules
    assert stat.S_IMODE((home / "postgres" / "pg_hba.conf").stat().st_mode) == 0o600


def test_a_user_of_the_system_whom_nobody_named_is_not_let_in(home: Path) -> None:
    """Not even one who gets to the socket."""
    with using_server(home) as server, postgres_logins.as_superuser(server.socket_dir, server.port) as connection:
        rules = connection.execute("SELECT type, user_name, auth_method, options FROM pg_hba_file_rules").fetchall()
        people = {name for (name,) in connection.execute("SELECT sys_name FROM pg_ident_file_mappings").fetchall()}
    assert rules == [
        ("local", ["postgres"], "peer", ["map=setup"]),
        ("local", ["all"], "scram-sha-256", None),
    ]
    assert people == set(administrators())


def test_secrets_are_random_private_kept_and_never_logged(home: Path) -> None:
    with using_server(home) as server:
        first = dict(server.secrets)
        assert "secrets" not in repr(server)
        log = (server.socket_dir / "server.log").read_text()
    path = embedded_secrets_file(home)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text()) == first
    assert len(set(first.values())) == len(Login)
    assert all(len(secret) >= 40 and secret not in log for secret in first.values())
    for secret in first.values():
        assert redaction.redact(f"postgresql://x:{secret}@/y and {secret}").count(secret) == 0
    with using_server(home) as server:
        assert dict(server.secrets) == first


def test_lost_secrets_are_made_anew_and_half_a_file_is_told(home: Path) -> None:
    with using_server(home) as server:
        first = server.url("strava", Login.PIPELINE)
    embedded_secrets_file(home).unlink()
    with using_server(home) as server:
        assert server.url("strava", Login.PIPELINE) != first
        assert value(server.url("strava", Login.PIPELINE), "SELECT 1") == 1
        with pytest.raises(Exception, match="password authentication failed"):
            value(first, "SELECT 1")
    embedded_secrets_file(home).write_text('{"strava_ow')
    with pytest.raises(ConfigurationError, match="does not hold the database's logins: remove it, then run"):
        use_server(home)


def test_a_file_that_a_dead_process_left_is_no_obstacle(home: Path) -> None:
    (home / "postgres.logins.new").write_text('{"strava_ow')
    with using_server(home) as server:
        assert value(server.url("strava", Login.PIPELINE), "SELECT 1") == 1
    assert not (home / "postgres.logins.new").exists()


@pytest.mark.parametrize("step", range(20))
def test_a_crash_after_any_step_is_made_good_by_the_next_start(
    earlier_home: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Set-up dies at its n-th step; what comes after finds everything in order."""
    steps = 0

    def dying(name: str) -> None:
        done = getattr(postgres_logins, name)

        def call(*arguments: object, **named: object) -> object:
            nonlocal steps
            if steps == step:
                raise InterruptedError
            steps += 1
            return done(*arguments, **named)

        crashing.setattr(postgres_logins, name, call)

    with monkeypatch.context() as crashing:
        for name in ("_write", "_ensure_login", "_revoke_from_public", "set_up_database", "as_superuser"):
            dying(name)
        try:
            use_server(earlier_home)
        except InterruptedError:
            pass
        else:
            assert steps <= step
        release_server(earlier_home)
    settings = Settings(home=earlier_home, database_url=EMBEDDED)
    with open_warehouse(settings) as engine:
        check_migrated(engine)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT event_key FROM ops.webhook_events")).scalar_one() == "k"


def test_data_of_an_earlier_version_are_handed_over_whole(earlier_home: Path) -> None:
    settings = Settings(home=earlier_home, database_url=EMBEDDED)
    prepared = prepare(settings)
    assert prepared.left == []
    server = use_server(earlier_home)
    assert value(ensure_database_url(settings), "SELECT event_key FROM ops.webhook_events") == "k"
    assert value(ensure_database_url(settings), "SELECT session_user") == Login.PIPELINE
    dagster = server.url("strava_dagster", Login.DAGSTER)
    assert value(dagster, "SELECT body FROM runs WHERE one() = 1") == "kept"
    value(dagster, "ALTER TABLE runs ADD COLUMN more int; ALTER TYPE kind ADD VALUE 'c'")
    value(dagster, "INSERT INTO runs (kind) VALUES ('b'); SELECT nextval('numbers')")
    left = (
        "SELECT count(*) FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace"
        " WHERE nspname IN ('strava', 'ops', 'public') AND pg_get_userbyid(relowner) = 'postgres'"
    )
    for database in ("strava", "strava_dagster"):
        assert value(server.set_up_url(database), left) == 0
    with pytest.raises(Exception, match="permission denied for database"):
        value(server.url("strava_dagster", Login.PIPELINE), "SELECT 1")
    with pytest.raises(Exception, match="permission denied for database"):
        value(server.url("strava", Login.DAGSTER), "SELECT 1")


def test_tables_from_before_the_first_release_are_told_although_they_were_the_superusers(earlier_home: Path) -> None:
    settings = Settings(home=earlier_home, database_url=EMBEDDED)
    options = f"-c listen_addresses='' -c unix_socket_directories='{earlier_home / 'postgres'}' -p {postgres.PORT}"
    log = str(earlier_home / "postgres" / "server.log")
    postgres._pg_ctl(earlier_home, "start", "-w", "-l", log, "-o", options)
    value(Server(earlier_home / "postgres").set_up_url("strava"), "UPDATE ops.alembic_version SET version_num = '0008'")
    postgres._pg_ctl(earlier_home, "stop", "-m", "fast", "-w")
    for _ in range(2):
        with pytest.raises(
            WarehouseError, match=r"at revision 0008, from before the first release: .* move the folder"
        ):
            prepare(settings)
        with (
            pytest.raises(WarehouseError, match="at revision 0008, from before the first release: "),
            open_warehouse(settings),
        ):
            pass
    release_server(earlier_home)
    # As the line says.
    (earlier_home / "postgres").rename(earlier_home.with_name("moved"))
    with open_warehouse(settings) as engine:
        check_migrated(engine)


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_server_of_an_earlier_version_that_runs_asks_for_secrets_from_then_on(
    earlier_home: Path, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    options = f"-c listen_addresses='' -c unix_socket_directories='{earlier_home / 'postgres'}' -p {postgres.PORT}"
    log = str(earlier_home / "postgres" / "server.log")
    postgres._pg_ctl(earlier_home, "start", "-w", "-l", log, "-o", options)
    if interrupted:
        # What was written is not news any more when somebody comes again.
        data = earlier_home / "postgres"
        postgres_logins.write_access_files(data, administrators(), server_ids())
    server = use_server(earlier_home)
    url = make_url(server.url("strava", Login.OWNER)).set(password="wrong-secret")
    with postgres_logins.as_superuser(server.socket_dir, server.port) as connection:
        # A signal told it, which takes a moment.
        while connection.execute("SELECT pg_conf_load_time() > pg_postmaster_start_time()").fetchone() != (True,):
            pass
    with pytest.raises(Exception, match="password authentication failed"):
        value(url, "SELECT 1")
    assert value(server.url("strava", Login.OWNER), "SELECT 1") == 1


def test_two_processes_set_up_the_same_home_at_once(earlier_home: Path) -> None:
    holders: list[Holder] = []
    threads = [threading.Thread(target=lambda: holders.append(Holder(earlier_home))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = [
        holder.run("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'strava%' AND rolcanlogin") for holder in holders
    ]
    for holder in holders:
        holder.leave()
    assert told == [str(len(Login))] * 2


def test_starting_again_changes_nothing(home: Path) -> None:
    fingerprint = (
        "SELECT string_agg(xmin::text, ',' ORDER BY oid) || (SELECT string_agg(xmin::text, ',' ORDER BY oid)"
        " FROM pg_database) FROM pg_authid"
    )
    seen = []
    for _ in range(2):
        with using_server(home) as server:
            seen.append(value(server.set_up_url("postgres"), fingerprint))
    assert seen[0] == seen[1]


def test_rights_taken_or_given_meanwhile_are_put_right(home: Path) -> None:
    with using_server(home) as server:
        value(server.set_up_url("postgres"), "ALTER ROLE strava_pipeline SUPERUSER CREATEROLE")
        value(server.set_up_url("postgres"), "REVOKE CONNECT ON DATABASE strava FROM strava_pipeline")
        value(server.set_up_url("postgres"), "GRANT ALL ON DATABASE strava_dagster TO PUBLIC")
    with using_server(home) as server:
        url = server.url("strava", Login.PIPELINE)
        assert value(url, "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user") is False
        with pytest.raises(Exception, match="permission denied for database"):
            value(make_url(url).set(database="strava_dagster"), "SELECT 1")


def test_the_first_start_warns_of_nothing(home: Path) -> None:
    with using_server(home) as server:
        value(server.set_up_url("postgres"), "SELECT pg_reload_conf()")
        # Reloading the access files is noticed by a session that starts after it.
        value(server.set_up_url("postgres"), "SELECT 1")
    log = (home / "postgres" / "server.log").read_text()
    assert "reloading configuration files" in log
    for bad in ("contains errors", "cannot be changed", "WARNING", "ERROR"):
        assert bad not in log


def test_a_server_whose_logins_somebody_holds_is_told_in_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_logins, "LOCK_SECONDS", 0.1)
    with Holder(home) as other:
        other.run("ALTER ROLE strava_sql_analyst CONNECTION LIMIT 3")
        with (
            psycopg.connect(host=str(other.socket_dir), user=SUPERUSER, dbname="postgres") as somebody,
            somebody.transaction(),
        ):
            # What every login may take was what set-up waited for.
            somebody.execute("SELECT pg_advisory_lock(1)")
            somebody.execute("ALTER ROLE strava_sql_analyst CONNECTION LIMIT 4")
            with pytest.raises(
                DatabaseUnavailable, match="is not set up: an open transaction locks what must be changed"
            ) as told:
                use_server(home)
            assert "\n" not in str(told.value)
        with using_server(home) as server:
            limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'strava_sql_analyst'"
            assert value(server.set_up_url("postgres"), limit) == 20


def test_nobody_holds_up_a_start_by_a_lock_that_any_login_may_take(home: Path) -> None:
    with (
        Holder(home) as other,
        psycopg.connect(host=str(other.socket_dir), user=SUPERUSER, dbname="postgres") as somebody,
    ):
        somebody.execute("SELECT pg_advisory_lock(1)")
        with using_server(home) as server:
            assert value(server.set_up_url("postgres"), "SELECT 1") == 1


def test_a_server_that_has_no_connection_left_is_told_in_one_line(home: Path) -> None:
    with Holder(home) as other, ExitStack() as held:
        with suppress(psycopg.OperationalError):
            for _ in range(postgres_logins.MAX_CONNECTIONS + 1):
                held.enter_context(psycopg.connect(host=str(other.socket_dir), user=SUPERUSER, dbname="postgres"))
        with pytest.raises(DatabaseUnavailable, match=r"cannot be reached: .*too many clients already") as told:
            use_server(home)
        assert "\n" not in str(told.value)
