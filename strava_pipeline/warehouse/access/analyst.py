"""The analysts' role, which may read schema ``strava`` and nothing else; :mod:`.rights` has its grants."""

from __future__ import annotations

from contextlib import suppress

from psycopg.errors import DuplicateObject, InsufficientPrivilege, InternalError_, LockNotAvailable, UniqueViolation
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, Engine, text

from strava_pipeline.errors import WarehouseError
from strava_pipeline.local.logins import Login
from strava_pipeline.warehouse.access.analyst_limits import find_analysts, limit
from strava_pipeline.warehouse.access.made_logins import may_create_roles, role_exists
from strava_pipeline.warehouse.access.rights import grant
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.locks import Lock, acquire

# How long to wait for the lock on a login's settings: an analyst can hold that of their own login without end.
LIMITING_MILLISECONDS = 1000
# Names that Postgres allows for no role.
RESERVED = frozenset({"public", "none"})
_POWERS = """
SELECT r.rolcanlogin, bool_or(m.rolsuper OR m.rolcreaterole OR m.rolcreatedb OR m.rolreplication OR m.rolbypassrls),
    bool_or(m.rolname = ANY(:ours))
FROM pg_roles AS r JOIN pg_roles AS m ON pg_has_role(r.oid, m.oid, 'MEMBER')
WHERE r.rolname = :role GROUP BY r.rolcanlogin
"""


def ensure_analyst_role(engine: Engine, role: str) -> list[str]:
    """Create the role if it does not exist, and let it read every table of schema ``strava``, future ones included.

    The role is a group that cannot log in; each login that is a member gets limits. Returns, one line each, what an
    administrator has yet to do. ``WarehouseError`` if the database's user may not create the role, or if a role of this
    name has more rights than a group of readers.
    """
    with engine.begin() as connection:
        acquire(connection, Lock.RIGHTS)
        if why := why_unfit(connection, role):
            raise WarehouseError(f"{role!r} is no role for analysts: {why}; name another one in STRAVA_ANALYST_ROLE")
        if not role_exists(connection, role):
            if not may_create_roles(connection):
                raise WarehouseError(
                    f"role {role} for analysts is not there, and this database user may not create it: run"
                    f' CREATE ROLE "{role}" NOLOGIN as an administrator, then strava-pipeline migrate again'
                )
            # Roles belong to the whole server: another process may create this one now for another database.
            with suppress(DuplicateObject, UniqueViolation), connection.begin_nested():
                driver_of(connection).execute(SQL("CREATE ROLE {} NOLOGIN").format(Identifier(role)))
        grant(connection, role, Login.SQL_AS_ANALYST)
        return _limit_members(connection, role)


def why_unfit(connection: Connection, role: str) -> str:
    """Return why a role, existing or not, cannot be the analysts' group; '' if it can."""
    if role in RESERVED or role.startswith("pg_"):
        return "that name is the server's"
    if role in set(Login):
        return "that is a login of ours"
    found = connection.execute(text(_POWERS), {"role": role, "ours": list(Login)}).first()
    if found is None:
        return ""
    logs_in, may_more, is_ours = found
    if may_more:
        return "that role may do more than read"
    if logs_in:
        return "that role can log in, and the analysts' is a group that cannot"
    return "that role is a member of a login of ours" if is_ours else ""


def join_analysts(connection: Connection, role: str, login: str) -> list[str]:
    """Make a login a member of the analysts' role; return, one line each, what an administrator has yet to do."""
    member = text("SELECT pg_has_role(:login, :role, 'MEMBER')")
    if connection.execute(member, {"login": login, "role": role}).scalar_one():
        return []
    joining = SQL("GRANT {} TO {}").format(Identifier(role), Identifier(login))
    try:
        with connection.begin_nested():
            driver_of(connection).execute(joining)
    except InsufficientPrivilege:
        statement = joining.as_string(driver_of(connection))
        return [f"{login} is no analyst yet: run {statement} as an administrator"]
    return []


def _limit_members(connection: Connection, role: str) -> list[str]:
    left = []
    connection.execute(text("SELECT set_config('lock_timeout', :time, true)"), {"time": str(LIMITING_MILLISECONDS)})
    for analyst in find_analysts(connection, role):
        try:
            with connection.begin_nested():
                limit(connection, analyst)
        except InsufficientPrivilege:
            left.append(
                f"analyst {analyst.name} has no limits, and this database user may not set them: run ALTER ROLE"
                f' "{analyst.name}" CONNECTION LIMIT 5 and SET statement_timeout as an administrator'
            )
        except (LockNotAvailable, InternalError_):
            # Another session held the login's row for too long, or changed it: "tuple concurrently updated".
            left.append(
                f"analyst {analyst.name} has not all limits: somebody changes that login at this time, perhaps in a"
                " transaction that stays open; end that one (pg_stat_activity tells whose it is), then run"
                " strava-pipeline migrate again"
            )
    return left
