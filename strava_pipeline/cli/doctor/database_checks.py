"""Checks of the tables' database: whether it answers, its revision, rights, tokens and keys, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from pydantic import SecretStr
from sqlalchemy import Connection, Engine

from strava_pipeline.cli.doctor.clocks import judged, seconds_off
from strava_pipeline.cli.doctor.findings import EXCHANGE_SECONDS, Check, Finding, fail, ok, warn
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.keyring import Keyring
from strava_pipeline.local.logins import Login
from strava_pipeline.local.running_postgres import PostgresNotRunning, with_running_postgres
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.access.rights import (
    may_act_as,
    missing_rights,
    owner_of_tables,
    superfluous_rights,
    what_analysts_may_take,
)
from strava_pipeline.warehouse.addresses import without_password
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.connecting import is_pooled
from strava_pipeline.warehouse.engine import ensure_sql_url, now, sql_login
from strava_pipeline.warehouse.migrate import HEAD, check_migrated, stored_revision
from strava_pipeline.warehouse.reading import check_replica, look_at_primary
from strava_pipeline.warehouse.server_facts import NEWEST_TRIED_VERSION, OLDEST_VERSION, server_facts
from strava_pipeline.warehouse.tokens.key_checks import read_use, refuse_wrong_keys
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore
from strava_pipeline.warehouse.upkeep.load import upkeep_load

START = "start it with strava-pipeline up, and run doctor again"
MIGRATE = "run strava-pipeline migrate"
_MICROSECOND = timedelta(microseconds=1)
# So many names are told.
MOST_NAMES = 5


@contextmanager
def looking(settings: Settings) -> Iterator[Engine]:
    """Yield a read-only engine for the tables' database as it is; an embedded Postgres is not started for it."""
    with look_at_primary(with_running_postgres(settings), EXCHANGE_SECONDS) as engine:
        yield engine


@contextmanager
def reading(settings: Settings) -> Iterator[Connection]:
    """Yield a connection of :func:`looking`."""
    with looking(settings) as engine, engine.connect() as connection:
        yield connection


def check_database(settings: Settings) -> Iterator[Finding]:
    """Check that the database answers, and accepts writes as far as a reader can tell."""
    try:
        with reading(settings) as connection:
            facts, where = server_facts(connection), without_password(connection.engine.url)
            by_pooler = is_pooled(driver_of(connection))
    except PostgresNotRunning as error:
        find = fail if error.is_there else warn
        yield find(str(error), START if error.is_there else "strava-pipeline up or migrate makes it")
        return
    if facts.is_replica:
        yield fail(
            f"{where} follows a primary and accepts no writes", "set STRAVA_DATABASE_URL to the primary, or promote it"
        )
    elif facts.major < OLDEST_VERSION:
        yield fail(f"{where} is Postgres {facts.version}", f"upgrade it: version {OLDEST_VERSION} or later is needed")
    else:
        yield ok(f"{where} answers: Postgres {facts.version}, login {facts.login}, {facts.size}")
    if by_pooler:
        yield ok(
            f"{where} is a pooler, which passes on no options: time limits, UTC and the like are set in each"
            " transaction, and no statement is prepared"
        )


def check_database_version(settings: Settings) -> Iterator[Finding]:
    """Say whether this version of Postgres was tried with ours."""
    with reading(settings) as connection:
        facts = server_facts(connection)
    if facts.major > NEWEST_TRIED_VERSION:
        yield warn(
            f"Postgres {facts.major} is newer than those that this version was tried with",
            f"look for a newer strava-pipeline, or use Postgres {OLDEST_VERSION} to {NEWEST_TRIED_VERSION}",
        )
    else:
        yield ok(f"Postgres {OLDEST_VERSION} to {NEWEST_TRIED_VERSION} are supported")


def check_database_clock(settings: Settings) -> Iterator[Finding]:
    """Compare this machine's clock with the database's, by which the quota is counted."""
    with reading(settings) as connection:
        connection.connection.driver_connection  # noqa: B018  connected before the clock is looked at
        sent = datetime.now(UTC)
        told = now(connection)
    yield judged(seconds_off(sent, datetime.now(UTC), told, _MICROSECOND), "the database's")


def check_tables(settings: Settings) -> Iterator[Finding]:
    """Check that the tables are of this program's revision."""
    with looking(settings) as engine:
        with engine.connect() as connection:
            revision = stored_revision(connection)
        if not revision:
            yield warn("there are no tables yet", f"{MIGRATE}, or strava-pipeline up, which makes them")
            return
        # Its error says what to do.
        check_migrated(engine)
    yield ok(f"at revision {HEAD}, the newest of this version")


def check_rights(settings: Settings) -> Iterator[Finding]:
    """Check that each database login has the rights that it needs and no more, as the logins that we make have."""
    with reading(settings) as connection:
        login = connection.engine.url.username
        missing, more = missing_rights(connection), superfluous_rights(connection)
        advice = what_analysts_may_take(connection)
    if missing:
        names = ", ".join(missing[:MOST_NAMES]) + (" ..." if len(missing) > MOST_NAMES else "")
        yield fail(f"{login} may not read and write {len(missing)} of our tables: {names}", MIGRATE)
    if more:
        yield warn(
            f"{login} has more rights than the pipeline needs ({', '.join(more)})",
            "put it into STRAVA_DATABASE_OWNER_URL, for migrate and analysts add, and a plain login into"
            " STRAVA_DATABASE_URL, to which migrate grants its rights",
        )
    if advice:
        yield warn(advice)
    if not (missing or more or advice):
        reader = sql_login(with_running_postgres(settings), Login.SQL)
        yield ok(f"{login} for the pipeline, {reader} for sql, each with the rights it needs")
    yield from _missing_readers(with_running_postgres(settings))
    if not settings.is_embedded and settings.database_owner_url is not None:
        yield from _judged_owner(settings, settings.database_owner_url)


def _judged_owner(settings: Settings, address: SecretStr) -> Iterator[Finding]:
    """What is wrong with the login for migrations."""
    with reading(settings.model_copy(update={"database_url": address})) as connection:
        owner, login = owner_of_tables(connection), connection.engine.url.username
        if not may_act_as(connection, owner):
            yield fail(
                f"STRAVA_DATABASE_OWNER_URL logs in as {login}, and the tables belong to {owner}",
                f"name a login there that is {owner}, or a member of it: migrate fails otherwise",
            )


def _missing_readers(settings: Settings) -> Iterator[Finding]:
    for reader in (Login.SQL, Login.SQL_AS_ANALYST):
        try:
            ensure_sql_url(settings, reader)
        except ConfigurationError as error:
            yield warn(str(error))


def check_tokens(settings: Settings) -> Iterator[Finding]:
    """Check that the keys are those that the database knows, and decrypt the tokens of every connected athlete."""
    if settings.token_keys is None and settings.client_id is None:
        with looking(settings) as engine, engine.connect() as connection:
            needed = read_use(connection).needed()
        if not needed:
            yield ok("none")
            return
    keyring = Keyring.parse(settings.required("token_keys"))
    with looking(settings) as engine:
        with engine.connect() as connection:
            refuse_wrong_keys(read_use(connection), keyring)
        athletes = PostgresTokenStore(engine, keyring).decrypt_all()
    yield ok(f"{athletes} connected athletes, the tokens of each can be decrypted")


def check_upkeep(settings: Settings) -> Iterator[Finding]:
    """Check that upkeep's share of the quota suffices for all connected athletes."""
    with reading(settings) as connection:
        load = upkeep_load(connection, settings, now(connection))
    if load.times_share > 1:
        yield warn(str(load), "STRAVA_UPKEEP_SHARE and STRAVA_UPKEEP_RECENT_HOURS change that; see docs/upkeep.md")
    else:
        yield ok(str(load))


def check_replica_state(settings: Settings) -> Iterator[Finding]:
    """Check that the replica, if there is one, can be read and follows a primary."""
    state = check_replica(settings)
    if state is None:
        yield ok("none: while the database is away, nothing can be shown")
    elif state.follows:
        yield ok(f"{state.where}, {state.as_of}")
    else:
        yield warn(
            f"{state.where} follows no primary: what it shows grows old",
            "it was promoted, or is no replica: make a new one, or unset STRAVA_DATABASE_REPLICA_URL",
        )


DATABASE, TABLES = "database", "tables"
DATABASE_CHECKS = (
    Check(DATABASE, check_database, "start Postgres, or correct STRAVA_DATABASE_URL"),
    Check("database version", check_database_version, needs=DATABASE),
    Check(TABLES, check_tables, MIGRATE, needs=DATABASE),
    # It is read by a function beside the tables.
    Check("database clock", check_database_clock, needs=TABLES),
    Check("logins", check_rights, MIGRATE, needs=TABLES),
    Check("stored tokens", check_tokens, "strava-pipeline keys status tells which keys are needed", needs=TABLES),
    Check("upkeep", check_upkeep, needs=TABLES),
    Check("replica", check_replica_state, "start it, or correct STRAVA_DATABASE_REPLICA_URL"),
)
