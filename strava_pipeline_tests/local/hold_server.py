"""A process of its own that holds the server of a home: ``python -m ...hold_server HOME [USER]``.

Says where the socket is, then runs each SQL statement it reads and says the first value; ends when its input does.
Started by root, it becomes USER once all is imported: Python itself may lie where that user does not get. Postgres'
programs may lie there as well; root opens the way to them, as it does for a server of its own.
"""

from __future__ import annotations

import encodings.ascii
import encodings.idna  # noqa: F401  nothing more can be imported once this process is somebody else
import os
import pwd
import sys
from pathlib import Path

import psycopg

from strava_pipeline.local import postgres
from strava_pipeline.local.logins import SUPERUSER
from strava_pipeline.local.postgres import use_server
from strava_pipeline.local.server_user import let_server_user_traverse


def main(home: Path, user: str | None = None) -> None:
    if user is not None:
        become(user)
    server = use_server(home)
    print(server.socket_dir, flush=True)  # noqa: T201  the parent reads it
    for statement in sys.stdin:
        # A connection each: the server may have been started anew meanwhile.
        with psycopg.connect(
            host=str(server.socket_dir), user=SUPERUSER, dbname="postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(statement.encode())
            row = cursor.fetchone() if cursor.description else None
        print(row[0] if row else "done", flush=True)  # noqa: T201  see above


def become(user: str) -> None:
    let_server_user_traverse(postgres._binaries())
    found = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(found.pw_gid)
    os.setuid(found.pw_uid)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
