"""Creates logins in the database: those of ``sql`` in an operator's own Postgres, and those of analysts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import Connection, text

from strava_pipeline.local.logins import Login, ensure_secrets, made_secrets_file, read_secrets
from strava_pipeline.local.postgres_logins import CONNECTION_LIMITS, READ_ONLY_SETTINGS
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.engine import driver_errors

READING = {Login.SQL: "STRAVA_SQL_DATABASE_URL", Login.SQL_AS_ANALYST: "STRAVA_ANALYST_DATABASE_URL"}


def role_exists(connection: Connection, role: str) -> bool:
    """Whether the server has a role of this name."""
    return connection.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}).first() is not None


def is_reserved(connection: Connection, name: str) -> bool:
    """Whether a name is a reserved word of SQL, like ``user``, which is a role's name only in quotes."""
    words = text("SELECT 1 FROM pg_get_keywords() WHERE word = :name AND catcode IN ('R', 'T')")
    return connection.execute(words, {"name": name}).first() is not None


def may_create_roles(connection: Connection) -> bool:
    """Whether this connection's login may create roles."""
    rights = text("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")
    return bool(connection.execute(rights).scalar_one())


def create_login(connection: Connection, name: str, secret: str) -> None:
    """Create a login without any right. Its secret is sent as a verifier, so that it is in no log of the server."""
    driver = driver_of(connection)
    verifier = driver.pgconn.encrypt_password(secret.encode(), name.encode(), b"scram-sha-256").decode()
    making = SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB PASSWORD {}")
    with driver_errors(connection):
        driver.execute(making.format(Identifier(name), Literal(verifier)))


def ensure_reading_logins(connection: Connection, home: Path, given: Iterable[Login]) -> list[str]:
    """Create the logins of ``sql`` that do not exist and are not ``given``; store their secrets under ``home``.

    Returns, one line each, what an administrator has yet to do.
    """
    left = []
    kept = read_secrets(made_secrets_file(home))
    for login in sorted(READING.keys() - set(given)):
        there = role_exists(connection, login)
        if there and login not in kept:
            left.append(
                f"login {login} is there, but its secret is not in {made_secrets_file(home)}: copy that file from where"
                f" it was made, or set {READING[login]}"
            )
        elif not there and may_create_roles(connection):
            # The secret is stored first: a login whose secret is lost would be useless.
            create_login(connection, login, ensure_secrets(made_secrets_file(home), [login])[login])
            _limit(connection, login)
        elif not there:
            left.append(
                f"sql has no login: as an administrator, run CREATE ROLE {login} LOGIN PASSWORD '...', set"
                f" {READING[login]} to its address, and run strava-pipeline migrate again"
            )
    return left


def _limit(connection: Connection, login: Login) -> None:
    driver, role = driver_of(connection), Identifier(login)
    driver.execute(SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(role, Literal(CONNECTION_LIMITS[login])))
    for name, value in READ_ONLY_SETTINGS.items():
        driver.execute(SQL("ALTER ROLE {} SET {} = {}").format(role, Identifier(name), Literal(value)))
