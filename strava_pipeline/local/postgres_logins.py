"""Who may log in to the embedded Postgres, and how: set up at each start, again after a crash at any point.

The superuser logs in as the user of the system that runs the server, or as root, and is used by set-up alone. All
others have a random secret, kept in one file under ``STRAVA_HOME``.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strava_pipeline.errors import DatabaseAway
from strava_pipeline.local import private_files
from strava_pipeline.local.logins import SUPERUSER, Login

if TYPE_CHECKING:
    from psycopg import Connection

WAREHOUSE_DATABASE = "strava"
DAGSTER_DATABASE = "strava_dagster"
CONNECT_SECONDS = 5
# For what set-up has to change and somebody holds.
LOCK_SECONDS = 30
MAX_CONNECTIONS = 150
# For the pipeline alone, whatever analysts have open.
RESERVED_CONNECTIONS = 100
# Room for as many locks as all analysts' sessions together can hold.
LOCKS_PER_TRANSACTION = 256
# Who has connected and not logged in takes a connection as well.
LOGIN_SECONDS = 10
# Of 8 kB, the fewest that there may be: nothing of ours notifies, and by default anybody could fill 8 GB of the disk.
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
# Nothing can be put in front of what a query means: only the owner of pg_catalog creates anything there.
_PINNED = {"search_path": "pg_catalog"}
READ_ONLY_SETTINGS = _PINNED | {"default_transaction_read_only": "on"}
_READING = READ_ONLY_SETTINGS | {"temp_file_limit": "4GB"}
_SETTINGS: Mapping[Login, Mapping[str, str]] = {
    Login.OWNER: _PINNED,
    Login.PIPELINE: _PINNED,
    # Its tables are in schema public, which only the database's owner may create in: itself.
    Login.DAGSTER: {"search_path": "public"},
    Login.SQL: _READING,
    Login.SQL_AS_ANALYST: _READING,
}
# At once, so that `sql` does not take what others need; -1: no limit.
CONNECTION_LIMITS = {Login.SQL: 20, Login.SQL_AS_ANALYST: 20}
_DATABASE_RIGHTS: Mapping[Login, Mapping[Login, frozenset[str]]] = {
    Login.OWNER: {Login.PIPELINE: frozenset({"CONNECT", "TEMPORARY"}), Login.SQL: frozenset({"CONNECT"})},
    Login.DAGSTER: {},
}
# A server that ran already has yet to read the files of access; a file's time is in whole seconds.
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
# REASSIGN OWNED does not take the superuser's things, since some are the system's.
_HAND_OVER = """
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
    """Say in the data folder who may log in how.

    ``users`` of the system may become the superuser; ``owner`` is user and group of the files.
    """
    people = "".join(f'{_MAP} "{user}" {SUPERUSER}\n' for user in users)
    # Users first: a crash in between leaves nobody outside who has to come in to mend it.
    _write(data / "pg_ident.conf", people, owner)
    _write(data / "pg_hba.conf", _ACCESS, owner)


def _write(path: Path, text: str, owner: tuple[int, int]) -> None:
    with contextlib.suppress(FileNotFoundError):
        if private_files.read_end(path) == text.encode():
            return
    private_files.write_whole_in_turn(path, text.encode(), owner)


@contextlib.contextmanager
def as_superuser(socket_dir: Path, port: int, database: str = "postgres") -> Iterator[Connection[Any]]:
    """A connection of set-up's, on which each statement is by itself; ``DatabaseAway`` if none is had, or it breaks.

    The same if somebody holds what a statement needs for longer than :data:`LOCK_SECONDS`.
    """
    import psycopg  # noqa: PLC0415  loading it is not needed to find a running server

    try:
        with psycopg.connect(
            host=str(socket_dir), port=port, user=SUPERUSER, dbname=database, autocommit=True,
            connect_timeout=CONNECT_SECONDS, options=f"-c lock_timeout={LOCK_SECONDS}s",
        ) as connection:  # fmt: skip
            yield connection
    except psycopg.errors.LockNotAvailable as error:
        raise DatabaseAway(
            f"the embedded Postgres in {socket_dir} is not set up: somebody holds what set-up has to change, in a"
            f" transaction that stays open ({_first_line(error)}); end that one (pg_stat_activity tells whose it is),"
            " then start again"
        ) from error
    except psycopg.OperationalError as error:
        raise DatabaseAway(f"the embedded Postgres in {socket_dir} is away: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].removeprefix("connection failed: ") if lines else type(error).__name__


def set_up_logins(socket_dir: Path, port: int, secrets: Mapping[str, str]) -> None:
    """Make the logins and the two databases what they should be; changes nothing where they are.

    Called by one process at a time.
    """
    with as_superuser(socket_dir, port) as connection:
        connection.execute(_RELOAD)
        with connection.transaction():
            # More of them slow down guessing at short passwords. Ours are 256 random bits, and Dagster logs in for each
            # thing that it does.
            connection.execute("SET LOCAL scram_iterations = 1")
            for login in Login:
                _ensure_login(connection, login, secrets[login])
        for database, owner in ((WAREHOUSE_DATABASE, Login.OWNER), (DAGSTER_DATABASE, Login.DAGSTER)):
            set_up_database(connection, database, owner)
        # Whatever else there is: from any database, locks and large objects could use up what all have in common.
        for (database,) in connection.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall():
            _close_to_public(connection, database)


def set_up_database(connection: Connection[Any], name: str, owner: Login) -> None:
    """Create a database unless it is there, and make it ``owner``'s; one that is the superuser's is handed over.

    Such a one was restored by the superuser, or made by a version that had no other login. Called by one at a time.
    Rights of others that are there already stay, but for PUBLIC's.
    """
    from psycopg.sql import SQL, Identifier  # noqa: PLC0415  see as_superuser

    database, theirs = Identifier(name), Identifier(owner)
    found = connection.execute("SELECT datdba::regrole::text FROM pg_database WHERE datname = %s", [name]).fetchone()
    if found is None:
        connection.execute(SQL("CREATE DATABASE {} TEMPLATE template0 OWNER {}").format(database, theirs))
    elif found[0] == SUPERUSER:
        with as_superuser(Path(connection.info.host), connection.info.port, name) as inside:
            inside.execute(_HAND_OVER.replace("{superuser}", SUPERUSER).replace("{owner}", owner).encode())
        # Last: as long as this is not done, all of it is done again.
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
    _close_to_public(connection, name)


def _close_to_public(connection: Connection[Any], database: str) -> None:
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
    # As a verifier, so that the secret itself reaches no log of the server.
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
    """Whether the verifier that Postgres keeps (RFC 5803) was made from this secret."""
    if not (verifier or "").startswith("SCRAM-SHA-256$"):
        return False
    _, parameters, keys = str(verifier).split("$")
    iterations, salt = parameters.split(":")
    salted = hashlib.pbkdf2_hmac("sha256", secret.encode(), base64.b64decode(salt), int(iterations))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), base64.b64decode(keys.split(":")[0]))
