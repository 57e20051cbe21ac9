"""Set-up of the logins of the embedded Postgres, repeated at each start, so that a crash at any point is mended.

The user of the system that runs the server, and root, may log in as superuser; only the set-up does. All other logins
have a random secret in one file under ``STRAVA_HOME``.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.local import private_files
from strava_pipeline.local.logins import SUPERUSER, Login

if TYPE_CHECKING:
    from psycopg import Connection

WAREHOUSE_DATABASE = "strava"
DAGSTER_DATABASE = "strava_dagster"
CONNECT_SECONDS = 5
# How long the set-up waits for a lock that another session holds.
LOCK_SECONDS = 30
MAX_CONNECTIONS = 150
# These are for the pipeline, however many connections analysts have open.
RESERVED_CONNECTIONS = 100
# All sessions of analysts together cannot use up so many locks.
LOCKS_PER_TRANSACTION = 256
# A client that has connected and not logged in also takes a connection.
LOGIN_SECONDS = 10
# Pages of 8 kB; the smallest value. We send no notifications, and by default any login could fill 8 GB of the disk.
NOTIFY_PAGES = 64
SERVER_OPTIONS = (
    f"-c max_connections={MAX_CONNECTIONS} -c reserved_connections={RESERVED_CONNECTIONS}"
    f" -c max_locks_per_transaction={LOCKS_PER_TRANSACTION} -c authentication_timeout={LOGIN_SECONDS}s"
    f" -c max_notify_queue_pages={NOTIFY_PAGES}"
)
_MAP = "setup"
_ACCESS = f"""\
# Written by strava-pipeline at each start of the server.
local all {SUPERUSER} peer map={_MAP}
local all all scram-sha-256
"""
_RESERVING = "pg_use_reserved_connections"
# With this path no other object can hide the one that a query means: only its owner creates objects in pg_catalog.
_PINNED = {"search_path": "pg_catalog"}
READ_ONLY_SETTINGS = _PINNED | {"default_transaction_read_only": "on"}
_READING = READ_ONLY_SETTINGS | {"temp_file_limit": "4GB"}
_SETTINGS: Mapping[Login, Mapping[str, str]] = {
    Login.OWNER: _PINNED,
    Login.PIPELINE: _PINNED,
    # Dagster's tables are in schema public, in which only the database's owner, this login, may create objects.
    Login.DAGSTER: {"search_path": "public"},
    Login.SQL: _READING,
    Login.SQL_AS_ANALYST: _READING,
}
# Connections at a time, so that `sql` leaves enough for others.
CONNECTION_LIMITS = {Login.SQL: 20, Login.SQL_AS_ANALYST: 20}
_DATABASE_RIGHTS: Mapping[Login, Mapping[Login, frozenset[str]]] = {
    Login.OWNER: {Login.PIPELINE: frozenset({"CONNECT", "TEMPORARY"}), Login.SQL: frozenset({"CONNECT"})},
    Login.DAGSTER: {},
}
# A server that already ran must reload the access files if they are newer; times of files are in whole seconds.
_RELOAD = """
SELECT pg_reload_conf() FROM pg_stat_file('pg_hba.conf') AS access, pg_stat_file('pg_ident.conf') AS people
WHERE greatest(access.modification, people.modification) >= date_trunc('second', pg_conf_load_time())
"""
_ROLE = """
SELECT rolcanlogin AND NOT (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls), rolconnlimit,
    rolpassword, coalesce((SELECT setconfig FROM pg_db_role_setting WHERE setrole = r.oid AND setdatabase = 0), '{}'),
    pg_has_role(r.oid, %s, 'MEMBER')
FROM pg_authid AS r WHERE rolname = %s
"""
_GRANTED = """
SELECT coalesce(grantee::regrole::text, ''), privilege_type
FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE datname = %s
"""
# REASSIGN OWNED refuses to work for the superuser, who also owns objects of the system.
_CHANGE_OWNER = """
DO $do$
DECLARE
    thing record;
BEGIN
    SET LOCAL search_path = '';
    FOR thing IN
        WITH ours AS (
            SELECT oid, nspname FROM pg_catalog.pg_namespace
            WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
        ), who AS (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = '{superuser}')
        SELECT 'SCHEMA' AS kind, pg_catalog.quote_ident(nspname) AS name
        FROM pg_catalog.pg_namespace JOIN ours USING (oid, nspname), who
        WHERE nspowner = who.oid
        UNION ALL
        SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
            ELSE 'TABLE' END, c.oid::regclass::text
        FROM pg_catalog.pg_class AS c JOIN ours ON ours.oid = relnamespace, who
        WHERE relowner = who.oid AND relkind IN ('r', 'p', 'v', 'm', 'S') AND NOT EXISTS (
            -- A column's sequence goes with its table.
            SELECT 1 FROM pg_catalog.pg_depend AS d
            WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
                AND d.refobjsubid > 0 AND relkind = 'S')
        UNION ALL
        SELECT 'ROUTINE', p.oid::regprocedure::text
        FROM pg_catalog.pg_proc AS p JOIN ours ON ours.oid = pronamespace, who WHERE proowner = who.oid
        UNION ALL
        SELECT 'TYPE', t.oid::regtype::text
        FROM pg_catalog.pg_type AS t JOIN ours ON ours.oid = typnamespace, who
        WHERE typowner = who.oid AND typtype IN ('e', 'd')
    LOOP
        EXECUTE pg_catalog.format('ALTER %s %s OWNER TO {owner}', thing.kind, thing.name);
    END LOOP;
END
$do$
"""


def write_access_files(data: Path, users: tuple[str, ...], owner: tuple[int, int]) -> None:
    """Write the access files of the server (pg_hba.conf, pg_ident.conf) in its data folder.

    ``users`` of the system may log in as superuser; ``owner``: ids of user and group of the files.
    """
    people = "".join(f'{_MAP} "{user}" {SUPERUSER}\n' for user in users)
    # Users first: after a crash in between, the set-up can still log in and mend it.
    _write(data / "pg_ident.conf", people, owner)
    _write(data / "pg_hba.conf", _ACCESS, owner)


def _write(path: Path, text: str, owner: tuple[int, int]) -> None:
    with contextlib.suppress(FileNotFoundError):
        if private_files.read_tail(path) == text.encode():
            return
    private_files.replace_by_one_process(path, text.encode(), owner)


@contextlib.contextmanager
def as_superuser(socket_dir: Path, port: int, database: str = "postgres") -> Iterator[Connection[Any]]:
    """Connect as superuser, in autocommit, for the duration of a ``with`` block.

    ``DatabaseUnavailable`` if there is no connection, if it breaks, or if a statement waits for a lock longer than
    :data:`LOCK_SECONDS`.
    """
    import psycopg  # noqa: PLC0415  loading it is not needed to find a running server

    try:
        with psycopg.connect(
            host=str(socket_dir), port=port, user=SUPERUSER, dbname=database, autocommit=True,
            connect_timeout=CONNECT_SECONDS, options=f"-c lock_timeout={LOCK_SECONDS}s",
        ) as connection:  # fmt: skip
            yield connection
    except psycopg.errors.LockNotAvailable as error:
        raise DatabaseUnavailable(
            f"the embedded Postgres in {socket_dir} is not set up: an open transaction locks what must be changed"
            f" ({_first_line(error)}); find the transaction in pg_stat_activity, end it, then start again"
        ) from error
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(
            f"the embedded Postgres in {socket_dir} cannot be reached: {_first_line(error)}"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].removeprefix("connection failed: ") if lines else type(error).__name__


def set_up_logins(socket_dir: Path, port: int, secrets: Mapping[str, str]) -> None:
    """Create or correct the logins and the two databases; change nothing that is already right.

    Only one process at a time may call this.
    """
    with as_superuser(socket_dir, port) as connection:
        connection.execute(_RELOAD)
        with connection.transaction():
            # More iterations only protect short passwords. Ours have 256 random bits, and Dagster logs in very often.
            connection.execute("SET LOCAL scram_iterations = 1")
            for login in Login:
                _ensure_login(connection, login, secrets[login])
        for database, owner in ((WAREHOUSE_DATABASE, Login.OWNER), (DAGSTER_DATABASE, Login.DAGSTER)):
            set_up_database(connection, database, owner)
        # All other databases too: from any of them, locks and large objects could use up shared resources.
        for (database,) in connection.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall():
            _revoke_from_public(connection, database)


def set_up_database(connection: Connection[Any], name: str, owner: Login) -> None:
    """Create a database for ``owner`` unless it exists; give a database of the superuser to ``owner``.

    A database belongs to the superuser if the superuser restored it, or an early version made it. Rights that others
    have stay, but all rights of PUBLIC are revoked. Only one process at a time may call this.
    """
    from psycopg.sql import SQL, Identifier  # noqa: PLC0415  see as_superuser

    database, theirs = Identifier(name), Identifier(owner)
    found = connection.execute("SELECT datdba::regrole::text FROM pg_database WHERE datname = %s", [name]).fetchone()
    if found is None:
        connection.execute(SQL("CREATE DATABASE {} TEMPLATE template0 OWNER {}").format(database, theirs))
    elif found[0] == SUPERUSER:
        with as_superuser(Path(connection.info.host), connection.info.port, name) as inside:
            inside.execute(_CHANGE_OWNER.replace("{superuser}", SUPERUSER).replace("{owner}", owner).encode())
        # This comes last: until it is done, the next start repeats all of it.
        connection.execute(SQL("ALTER DATABASE {} OWNER TO {}").format(database, theirs))
    granted = set(connection.execute(_GRANTED, [name]).fetchall())
    for login, rights in _DATABASE_RIGHTS[owner].items():
        if not {(login.value, right) for right in rights} <= granted:
            connection.execute(
                SQL("GRANT {} ON DATABASE {} TO {}").format(
                    SQL(", ").join(map(SQL, sorted(rights))),
                    database,
                    Identifier(login),
                )
            )
    _revoke_from_public(connection, name)


def _revoke_from_public(connection: Connection[Any], database: str) -> None:
    from psycopg.sql import SQL, Identifier  # noqa: PLC0415  see as_superuser

    if any(grantee in {"", "-"} for grantee, _ in connection.execute(_GRANTED, [database]).fetchall()):
        connection.execute(SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(Identifier(database)))


def _ensure_login(connection: Connection[Any], login: Login, secret: str) -> None:
    from psycopg.sql import SQL, Identifier, Literal  # noqa: PLC0415  see as_superuser

    role, limit = Identifier(login), CONNECTION_LIMITS.get(login, -1)
    reserving = login is not Login.SQL_AS_ANALYST
    settings = {f"{name}={value}" for name, value in _SETTINGS[login].items()}
    found, reserved = connection.execute(_ROLE, [_RESERVING, login]).fetchone(), False
    if found is not None:
        plain, limited, verifier, configured, reserved = found
        right = plain and limited == limit and settings <= set(configured) and reserved == reserving
        if right and is_secret_of(secret, verifier):
            return
    else:
        connection.execute(SQL("CREATE ROLE {}").format(role))
    # Postgres gets a verifier, so that no log of the server contains the secret.
    verifier = connection.pgconn.encrypt_password(secret.encode(), login.encode(), b"scram-sha-256").decode()
    connection.execute(
        SQL(
            "ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS"
            " CONNECTION LIMIT {} PASSWORD {}"
        ).format(role, Literal(limit), Literal(verifier))
    )
    for name, value in _SETTINGS[login].items():
        connection.execute(SQL("ALTER ROLE {} SET {} = {}").format(role, Identifier(name), Literal(value)))
    if reserved != reserving:
        change = SQL("GRANT {} TO {}") if reserving else SQL("REVOKE {} FROM {}")
        connection.execute(change.format(Identifier(_RESERVING), role))


def is_secret_of(secret: str, verifier: str | None) -> bool:
    """Whether a verifier of Postgres (RFC 5803) was made from this secret."""
    if not (verifier or "").startswith("SCRAM-SHA-256$"):
        return False
    _, parameters, keys = str(verifier).split("$")
    iterations, salt = parameters.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", secret.encode(), base64.b64decode(salt), int(iterations))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), base64.b64decode(keys.split(":")[0]))
