"""A replica that follows a primary as it streams its changes; by the programs of the real server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from strava_pipeline.local import postgres, private_files
from strava_pipeline.local.logins import SUPERUSER, Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.local.postgres_logins import as_superuser
from strava_pipeline.local.server_user import server_ids
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.moody_server import MoodyServer

# The server writes its access files anew at each start, without this line.
LET_REPLICATE = f"local replication {SUPERUSER} peer map=setup\n"


@dataclass
class StreamingReplica(MoodyServer):
    """A server under ``home`` that follows ``primary``."""

    primary: MoodyServer

    def address(self, database: str, login: Login = Login.PIPELINE) -> str:
        return self.server.url(database, login)

    def follow(self) -> None:
        """Start the primary unless it runs, and return once all of its changes are replayed here."""
        self.primary.start()
        let_replicate(self.primary)
        self.catch_up()

    def catch_up(self) -> None:
        """Wait until all that the primary has written is replayed here."""
        with as_superuser(self.primary.server.socket_dir, self.primary.server.port) as connection:
            (written,) = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone() or ("",)
        eventually(lambda: self._has_replayed(written), "a replica that has replayed all")

    def pause_replay(self) -> None:
        """Receive what the primary writes, and show none of it."""
        self._run("SELECT pg_wal_replay_pause()")
        eventually(lambda: self._is("pg_get_wal_replay_pause_state() = 'paused'"), "a replay that is paused")

    def resume_replay(self) -> None:
        self._run("SELECT pg_wal_replay_resume()")

    def forget_what_was_replayed(self) -> None:
        """Start anew where the replay was, so that nothing has been replayed since the start."""
        self._run("CHECKPOINT")
        self.stop()
        self.start()

    def _has_replayed(self, written: str) -> bool:
        return self._is(f"pg_last_wal_replay_lsn() >= '{written}'::pg_lsn")

    def _is(self, condition: str) -> bool:
        return self._run(f"SELECT {condition}") == (True,)

    def _run(self, statement: str) -> tuple[object, ...] | None:
        with as_superuser(self.server.socket_dir, self.server.port) as connection:
            done = connection.execute(statement.encode())
            return done.fetchone() if done.description else None


def let_replicate(primary: MoodyServer) -> None:
    """Let replicas of the same user log in, until the server starts anew."""
    access = primary.home / "postgres" / "pg_hba.conf"
    if LET_REPLICATE not in access.read_text(encoding="utf-8"):
        with access.open("a", encoding="utf-8") as file:
            file.write(LET_REPLICATE)
        postgres._pg_ctl(primary.home, "reload")


@contextmanager
def streaming_replica(primary: MoodyServer, home: Path) -> Iterator[StreamingReplica]:
    """Copy a running primary into ``home``, and follow it; stopped afterwards."""
    let_replicate(primary)
    primary.set_everywhere("wal_keep_size", "1GB")  # a replica that did not follow for a while finds what it lacks
    data = home.resolve() / "postgres"
    private_files.make_folder(data)
    os.chown(data, *server_ids())
    at_primary = f"host={primary.server.socket_dir} port={primary.server.port} user={SUPERUSER}"
    copied = postgres._command(
        home, "pg_basebackup", "-D", str(data), "-d", at_primary, "-c", "fast", "--no-sync", "--write-recovery-conf"
    )
    assert copied.returncode == 0, copied.stdout
    with (data / "postgresql.auto.conf").open("a", encoding="utf-8") as settings:
        settings.write("wal_retrieve_retry_interval = '100ms'\n")
    started = postgres._ensure_running(home.resolve())
    server = Server(started.socket_dir, started.port, primary.server.secrets)
    replica = StreamingReplica(home.resolve(), server, primary)
    try:
        yield replica
    finally:
        replica.stop()
