"""Limits on what one analyst may use of the server, so that enough is left for the pipeline.

Members do not inherit the settings of a group, so each login gets its own. Postgres lets every login change its time
limits, by SET in a session or permanently; it cannot change those of connections, temporary files and the server's log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import Connection, text

from strava_pipeline.local.logins import Login
from strava_pipeline.warehouse.access.rights import is_superuser
from strava_pipeline.warehouse.bulk import driver_of

CONNECTIONS = 5
TIMES: Mapping[str, str] = {
    "statement_timeout": "10min",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "5min",
    "idle_session_timeout": "1h",
    "transaction_timeout": "30min",
}
# Only a superuser can set these, so a login cannot change them.
FIXED_LIMITS: Mapping[str, str] = {
    "temp_file_limit": "1GB",
    # Failing statements and RAISE messages of an analyst could fill the server's log.
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
}
LIMITS = TIMES.keys() | FIXED_LIMITS.keys()
_MEMBERS = """
WITH RECURSIVE members AS (
    SELECT oid FROM pg_roles WHERE rolname = :role
    UNION SELECT a.member FROM pg_auth_members AS a JOIN members AS m ON a.roleid = m.oid
)
SELECT r.rolname, r.rolconnlimit,
    coalesce((SELECT setconfig FROM pg_db_role_setting WHERE setrole = r.oid AND setdatabase = 0), '{}') AS configured
FROM pg_roles AS r JOIN members USING (oid)
-- Who may write is no analyst: a login of the pipeline's, or an administrator.
WHERE r.rolcanlogin AND NOT has_table_privilege(r.oid, 'strava.activities', 'INSERT') ORDER BY r.rolname
"""


@dataclass(frozen=True)
class Analyst:
    """A login that is a member of the analysts' role; a limit of -1 means none."""

    name: str
    connection_limit: int
    settings: Mapping[str, str]


def find_analysts(connection: Connection, role: str) -> list[Analyst]:
    """Return the logins that are direct or indirect members of the role, except those that may write, and our own."""
    found = connection.execute(text(_MEMBERS), {"role": role}).all()
    ours = set(Login)
    return [
        Analyst(name, limit, dict(entry.split("=", 1) for entry in configured))
        for name, limit, configured in found
        if name not in ours
    ]


def limit(connection: Connection, analyst: Analyst) -> None:
    """Give a login each limit for which it has no setting of its own; needs the right to manage the role."""
    role, driver = Identifier(analyst.name), driver_of(connection)
    if analyst.connection_limit < 0:
        driver.execute(SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(role, Literal(CONNECTIONS)))
    for name, value in _settings(connection).items():
        if name not in analyst.settings:
            driver.execute(SQL("ALTER ROLE {} SET {} = {}").format(role, Identifier(name), Literal(value)))


def _settings(connection: Connection) -> dict[str, str]:
    """The limits that this server knows and this connection's login may set."""
    wanted = {**TIMES, **(FIXED_LIMITS if is_superuser(connection) else {})}
    known = connection.execute(text("SELECT name FROM pg_settings WHERE name = ANY(:names)"), {"names": list(wanted)})
    return {name: wanted[name] for name in known.scalars()}
