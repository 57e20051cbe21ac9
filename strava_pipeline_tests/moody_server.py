"""A Postgres that a test may stop, fill, cut, and turn into a read-only copy; by the programs of the real server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Composable, Identifier
from sqlalchemy import make_url

from strava_pipeline.local import postgres
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server, using_server
from strava_pipeline.local.postgres_logins import as_superuser
from strava_pipeline.local.server_user import server_ids
from strava_pipeline_tests.eventually import eventually

MORE_THAN_CONNECTIONS = 1000
TAKER = "taker"


@dataclass
class MoodyServer:
    """A server under ``home``."""

    home: Path
    server: Server

    def stop(self) -> None:
        """End the server as an operator does: sessions are cut, and it is not started again by itself."""
        postgres._pg_ctl(self.home, "stop", "-m", "fast", "-w")

    def start(self) -> None:
        """Start the server, unless it runs; its address stays."""
        assert postgres._ensure_running(self.home).socket_dir == self.server.socket_dir

    def checkpoint(self) -> None:
        """Write all changes to the tables' files."""
        with as_superuser(self.server.socket_dir, self.server.port) as connection:
            connection.execute("CHECKPOINT")

    def become_replica(self) -> None:
        """Start anew in recovery, as a replica whose primary is gone: it answers, and accepts no writes."""
        self.stop()
        self._standby_signal.touch()
        os.chown(self._standby_signal, *server_ids())
        self.start()

    def promote(self) -> None:
        """Make the replica the primary; its sessions stay."""
        postgres._pg_ctl(self.home, "promote", "-w")

    def set_everywhere(self, setting: str, value: str | None) -> None:
        """Change a setting of the server, also of its open sessions; ``None``: as it was."""
        change = SQL("RESET {}") if value is None else SQL("SET {} = {}")
        with as_superuser(self.server.socket_dir, self.server.port) as connection:
            connection.execute(SQL("ALTER SYSTEM ") + change.format(Identifier(setting), *filter(None, [value])))
            connection.execute("SELECT pg_reload_conf()")

    def cheer_up(self) -> None:
        """Run again, as the primary, with the settings of before."""
        self.start()
        if self._standby_signal.exists():
            self.promote()
        self.set_everywhere("default_transaction_read_only", None)

    @property
    def _standby_signal(self) -> Path:
        return self.home / "postgres" / "standby.signal"


@dataclass
class MoodyDatabase:
    """A migrated database on such a server."""

    on: MoodyServer
    name: str

    @property
    def address(self) -> str:
        """The address for the pipeline's login."""
        return self.on.server.url(self.name, Login.PIPELINE)

    def refuse_writes(self) -> None:
        """Refuse writes in all sessions, as a server does whose disk is nearly full."""
        self.on.set_everywhere("default_transaction_read_only", "on")

    def accept_writes(self) -> None:
        self.on.set_everywhere("default_transaction_read_only", None)

    def refuse_writes_of_new_sessions(self) -> None:
        """Refuse writes in new sessions; old ones are cut, as in a fail-over."""
        self._alter(SQL("SET default_transaction_read_only = on"))
        self.cut_all()

    def accept_writes_of_new_sessions(self) -> None:
        """Accept writes in new sessions; sessions that are open keep refusing."""
        self._alter(SQL("RESET default_transaction_read_only"))

    def cut_all(self) -> int:
        """End all sessions of the database but those of a full server; returns how many there were."""
        ending = (
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s AND application_name <> %s"
        )
        with as_superuser(self.on.server.socket_dir, self.on.server.port) as connection:
            return len(connection.execute(ending, (self.name, TAKER)).fetchall())

    @contextmanager
    def full(self) -> Iterator[None]:
        """Take all connections that the server has, from those who use them, too."""
        address = make_url(self.address).set(drivername="postgresql").render_as_string(hide_password=False)

        def taken_from_all(taken: ExitStack) -> bool:
            with suppress(psycopg.OperationalError):
                for _ in range(MORE_THAN_CONNECTIONS):
                    taken.enter_context(psycopg.connect(address, application_name=TAKER))
                raise AssertionError("the server takes any number of connections")
            return self.cut_all() == 0

        with ExitStack() as taken:
            eventually(lambda: taken_from_all(taken), "a server whose connections are all taken")
            yield

    def _alter(self, change: Composable) -> None:
        with as_superuser(self.on.server.socket_dir, self.on.server.port) as connection:
            connection.execute(SQL("ALTER DATABASE {} ").format(Identifier(self.name)) + change)


@contextmanager
def moody_server(home: Path) -> Iterator[MoodyServer]:
    """Use a server of one's own."""
    with using_server(home) as server:
        moody = MoodyServer(home.resolve(), server)
        try:
            yield moody
        finally:
            moody.start()
