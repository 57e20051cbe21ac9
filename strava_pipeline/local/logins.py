"""Names of the database logins, and the file with the secrets of those that this project creates."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from strava_pipeline import redaction
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import HomeEntry
from strava_pipeline.local import private_files

# Superuser of the embedded Postgres; only the set-up uses it.
SUPERUSER = "postgres"
SECRET_BYTES = 32


class Login(StrEnum):
    """Logins of the database; :mod:`strava_pipeline.warehouse.access.rights` grants their rights."""

    OWNER = "strava_owner"
    """Owns the tables; used by ``migrate``."""
    PIPELINE = "strava_pipeline"
    """Reads and writes the tables; used by the bridge, runs and commands."""
    DAGSTER = "strava_dagster"
    """Owns Dagster's own database, and has no access to ours."""
    SQL = "strava_sql"
    """Reads what the operator may read; used by ``sql``."""
    SQL_AS_ANALYST = "strava_sql_analyst"
    """Reads what the analysts' role may read; used by ``sql --as-analyst``."""


def embedded_secrets_file(home: Path) -> Path:
    """Return the path of the file with the secrets of the embedded server's logins."""
    return home / HomeEntry.POSTGRES_LOGINS


def made_secrets_file(home: Path) -> Path:
    """Return the path of the file with the secrets of logins that ``migrate`` created in the operator's Postgres."""
    return home / HomeEntry.DATABASE_LOGINS


def read_secrets(path: Path) -> dict[str, str]:
    """Return the secret of each login in the file, none if there is no file; logs redact them from now on.

    ``ConfigurationError`` if the file has another form.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise ConfigurationError(
            f"{path} is damaged and does not hold the database's logins: remove it, then run strava-pipeline migrate"
        ) from None
    for secret in found.values():
        redaction.register_secret(secret)
    return {str(login): str(secret) for login, secret in found.items()}


def ensure_secrets(path: Path, logins: Iterable[Login]) -> dict[str, str]:
    """Return a secret for each login; missing ones are generated and added to the file.

    The file is replaced atomically. Only one process at a time may call this for a file.
    """
    there = read_secrets(path)
    wanted = {login: there.get(login) or secrets.token_urlsafe(SECRET_BYTES) for login in logins}
    if not wanted.items() <= there.items():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        private_files.replace_by_one_process(path, json.dumps(there | wanted, indent=2).encode())
    return read_secrets(path)
