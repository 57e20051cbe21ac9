"""Addresses of Postgres: all that libpq takes leads there, for us and for Dagster, and no password shows."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from strava_pipeline import redaction
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.secret_parts import secret_parts
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.addresses import connection_parameters, parse_url, render, without_password
from strava_pipeline.warehouse.engine import ensure_dagster_url
from strava_pipeline_tests.conftest import opened

NAME = "STRAVA_DATABASE_URL"
SPELLINGS = {
    "postgres://me:hunter2@db.example:5433/rides?sslmode=require": "db.example:5433/rides",
    "postgresql+psycopg2://me:hunter2@h/d": "h/d",
    "postgresql://me:hunter2@h": "h/me",
    "postgresql://me:hunter2@a:1,b:2/d?target_session_attrs=read-write": "a:1,b:2/d",
    "postgresql://me:hunter2@[::1]:5/d": "::1:5/d",
    "postgresql://me:hunter2@[::1]:5,[::2]:6/d": "::1:5,::2:6/d",
    "postgresql://me:hunter2@%2Frun%2Fpg/d": "/run/pg/d",
    "postgresql://me:hunter2@/d?host=/run/pg&port=5432": "/run/pg/d",
    "postgresql:///d?host=h&user=me&password=hunter2": "h/d",
    "postgresql://me:hunter2@/d": "the local socket/d",
    "postgresql://me:hunter2@/d?hostaddr=192.0.2.7": "192.0.2.7/d",
    "postgresql://me:hunter2@h/d?sslmode=verify-full&sslrootcert=/etc/a%20b.pem": "h/d",
    "postgresql://me:hunter2@h/d?options=-c%20geqo%3Doff%20-c%20search_path%3Da%2Bb": "h/d",
    "host=a,b port=5432 dbname='the rides' user=me password=hunter2": "a:5432,b:5432/the rides",
    " postgresql://me:hunter2@h/d\n": "h/d",
}


@pytest.mark.parametrize(("text_of", "shown"), SPELLINGS.items())
def test_what_libpq_takes_is_an_address_and_its_password_never_shows(text_of: str, shown: str) -> None:
    url = parse_url(text_of, NAME)
    assert without_password(url) == shown
    assert (url.username, url.password) == ("me", "hunter2")
    assert "hunter2" in secret_parts("database_url", text_of)


@pytest.mark.parametrize("text_of", SPELLINGS)
def test_an_address_is_the_same_once_it_was_written_down(text_of: str) -> None:
    """Processes of ours read it as libpq does, and Dagster by SQLAlchemy."""
    url = parse_url(text_of, NAME)
    assert connection_parameters(parse_url(render(url), NAME)) == connection_parameters(url)
    dagsters = create_engine(render(url.set(drivername="postgresql+psycopg2")))
    (_, theirs) = dagsters.dialect.create_connect_args(dagsters.url)
    assert {**theirs, "port": str(theirs.get("port"))} == {
        **connection_parameters(url),
        "port": str(connection_parameters(url).get("port")),
    }


@pytest.mark.parametrize(
    "wrong",
    [
        "sqlite:///a.db",
        "mysql://h/d",
        "the database on my desk",
        "postgresql://h:port/d",
        "postgresql://h/d?no_such_parameter=1",
        "postgresql://me@/d?host=a:1&host=b:2",
        "host=h password",
    ],
)
def test_another_address_is_refused_by_the_settings_name_and_not_repeated(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^STRAVA_DATABASE_URL is not") as caught:
        parse_url(wrong, NAME)
    assert wrong not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text_of", "secrets"),
    [
        ("postgresql://me:p%40ss@h/d", {"p@ss", "p%40ss"}),
        ("postgresql://h/d?password=hunter2&sslpassword=tiger", {"hunter2", "tiger"}),
        ("host=h user=me password='hunter 2'", {"hunter 2"}),
        ("postgresql://h/d", set()),
        # Nobody knows which of its parts is one.
        ("host=h pasword=hunter2", {"host=h pasword=hunter2"}),
    ],
)
def test_each_password_of_an_address_is_masked(text_of: str, secrets: set[str]) -> None:
    assert set(secret_parts("database_url", text_of)) == secrets


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty file of services, which libpq reads as well."""
    path = tmp_path / "services.conf"
    monkeypatch.setenv("PGSERVICEFILE", str(path))
    return path


def test_a_service_is_what_its_file_says_but_for_what_the_address_says(services: Path) -> None:
    services.write_text("# ours\n[rides]\nhost=db.example\nport=5433\nuser=me\npassword=hunter2service\ndbname=rides\n")
    for address in ("postgresql:///?service=rides", "service=rides"):
        assert render(parse_url(address, NAME)) == "postgresql+psycopg://me:hunter2service@db.example:5433/rides"
    assert parse_url("service=rides dbname=other user=you", NAME).database == "other"
    assert "hunter2service" not in redaction.redact("it said hunter2service")


def test_a_service_by_variable_and_the_users_own_name_are_found_as_libpq_finds_them(
    services: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.write_text("[rides]\nhost=db.example\n")
    monkeypatch.setenv("PGSERVICE", "rides")
    monkeypatch.setenv("PGUSER", "somebody")
    assert render(parse_url("postgresql://", NAME)) == "postgresql+psycopg://somebody@db.example/somebody"
    monkeypatch.setenv("PGDATABASE", "rides")
    assert parse_url("postgresql://", NAME).database == "rides"


def test_a_service_that_we_cannot_see_is_libpqs_and_needs_an_address_for_dagster(
    services: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_DATABASE_URL", "service=elsewhere")
    url = parse_url("service=elsewhere", NAME)
    assert without_password(url) == "the service elsewhere"
    assert connection_parameters(url) == {"service": "elsewhere"}
    with pytest.raises(ConfigurationError, match=r"the service elsewhere.*set DAGSTER_POSTGRES_URL$"):
        ensure_dagster_url(load_settings())


def test_a_password_of_a_file_is_used(database: str, tmp_path: Path) -> None:
    url = make_url(database)
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"*:*:*:{url.username}:{url.password}\n")
    passwords.chmod(0o600)
    by_file = url.set(password=None).update_query_dict({"passfile": str(passwords)})
    with opened(parse_url(render(by_file), NAME)) as engine, engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_of_two_hosts_the_one_that_answers_is_used_by_us_and_by_dagster(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = make_url(database)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        hosts = f"127.0.0.1,{right.query['host']}"
        ports = f"{closed.getsockname()[1]},{right.query['port']}"
    address = render(right.set(query={"host": hosts, "port": ports, "target_session_attrs": "read-write"}))
    with opened(parse_url(address, NAME)) as engine, engine.connect() as connection:
        assert connection.execute(text("SELECT current_database()")).scalar_one() == right.database
    monkeypatch.setenv("STRAVA_DATABASE_URL", "embedded")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", address)
    dagsters = create_engine(ensure_dagster_url(load_settings()))
    with dagsters.connect() as connection:
        assert connection.dialect.driver == "psycopg2"
        assert connection.execute(text("SELECT current_database()")).scalar_one() == right.database
    dagsters.dispose()
