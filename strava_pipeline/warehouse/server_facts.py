"""What a server of Postgres says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, text

# Below it, what migrations and queries use is missing; above the other, nobody has tried.
OLDEST_VERSION = 15
NEWEST_TRIED_VERSION = 18
_FACTS = """
SELECT current_setting('server_version_num')::int / 10000, current_setting('server_version'), current_user::text,
    pg_is_in_recovery(), pg_size_pretty(pg_database_size(current_database()))
"""


@dataclass(frozen=True)
class ServerFacts:
    """A server's version, the ``login`` that asked, whether it only follows a primary, and the size of our database."""

    major: int
    version: str
    login: str
    is_replica: bool
    size: str


def server_facts(connection: Connection) -> ServerFacts:
    """Return what the server says of itself."""
    return ServerFacts(*connection.execute(text(_FACTS)).one())
