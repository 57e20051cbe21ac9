"""The addresses of an embedded Postgres that runs, for whoever looks at an installation and must not start it."""

from __future__ import annotations

from pydantic import SecretStr

from strava_pipeline.errors import WarehouseError
from strava_pipeline.home import HomeEntry
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server, find_server
from strava_pipeline.local.postgres_logins import DAGSTER_DATABASE, WAREHOUSE_DATABASE
from strava_pipeline.settings import Settings


class PostgresNotRunning(WarehouseError):
    """The embedded Postgres does not run; ``is_there``: whether it was ever set up."""

    def __init__(self, message: str, *, is_there: bool) -> None:
        super().__init__(message)
        self.is_there = is_there


def with_running_postgres(settings: Settings) -> Settings:
    """Return settings that name the addresses of the embedded Postgres, so that nothing that uses them starts it.

    Settings of a Postgres of the operator's own are returned as they are. ``PostgresNotRunning`` if it does not run.
    """
    if not settings.is_embedded:
        return settings
    data = settings.home / HomeEntry.POSTGRES
    server = find_server(settings.home)
    if server is None:
        is_there = data.exists()
        state = "does not run" if is_there else "is not there yet"
        raise PostgresNotRunning(f"the embedded Postgres {state} ({data})", is_there=is_there)
    return settings.model_copy(update=_addresses(settings, server))


def _addresses(settings: Settings, server: Server) -> dict[str, SecretStr]:
    ours = {
        "sql_database_url": (WAREHOUSE_DATABASE, Login.SQL),
        "analyst_database_url": (WAREHOUSE_DATABASE, Login.SQL_AS_ANALYST),
        "dagster_postgres_url": (DAGSTER_DATABASE, Login.DAGSTER),
    }
    unset = {name: place for name, place in ours.items() if getattr(settings, name) is None}
    unset["database_url"] = (WAREHOUSE_DATABASE, Login.PIPELINE)
    return {name: SecretStr(server.url(database, login)) for name, (database, login) in unset.items()}
