"""A real PgBouncer in front of a test's server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import URL, make_url

from strava_pipeline.local.postgres import Server
from strava_pipeline.local.server_user import server_ids
from strava_pipeline.warehouse.addresses import render
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.ports import free_port


@dataclass(frozen=True)
class Pooling:
    """How PgBouncer lends its connections, and whether it leaves options out instead of refusing whoever sends some.

    ``servers``: how many connections it has for each login and database.
    """

    mode: Literal["transaction", "session"] = "transaction"
    leaves_options_out: bool = True
    servers: int = 3

    def __str__(self) -> str:
        return f"{self.mode}-{'leaves-options-out' if self.leaves_options_out else 'refuses-options'}"


@dataclass(frozen=True)
class PgBouncer:
    """A pooler that runs; ``log`` is what it says."""

    port: int
    log: Path

    def url(self, direct: str | URL) -> URL:
        """The address through the pooler for one that leads to its server."""
        return make_url(direct).set(host="127.0.0.1", port=self.port, query={})

    def address(self, direct: str | URL) -> str:
        """The same as text."""
        return render(self.url(direct))


@contextmanager
def pgbouncer(server: Server, pooling: Pooling) -> Iterator[PgBouncer]:
    """Start PgBouncer in front of a server, for all of its databases and logins; it is ended afterwards."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "no pgbouncer on PATH: install it (Debian's package has that name)"
    # Not below pytest's own folder, which keeps other users out, as whom the pooler runs where this is root.
    with tempfile.TemporaryDirectory(prefix="strava-pipeline-pooler-") as folder:
        there, user = Path(folder), server_ids()
        bouncer = PgBouncer(free_port(), there / "log")
        configuration = there / "pgbouncer.ini"
        configuration.write_text(_configuration(server, pooling, bouncer, there), encoding="utf-8")
        (there / "logins").write_text("".join(f'"{login}" "{secret}"\n' for login, secret in server.secrets.items()))
        for path in (there, *there.iterdir()):
            os.chown(path, *user)
        with (
            bouncer.log.open("wb") as told,
            subprocess.Popen([program, "-q", str(configuration)], stdout=told, stderr=told, **_as(user)) as process,
        ):

            def is_ready() -> bool:
                assert process.poll() is None, bouncer.log.read_text(encoding="utf-8")
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", bouncer.port)) == 0

            try:
                eventually(is_ready, "a pooler that listens")
                yield bouncer
            finally:
                process.terminate()
                process.wait(PATIENCE_SECONDS)


def _as(user: tuple[int, int]) -> dict[str, Any]:
    """The options that start a process as another user, which only root may do; the pooler refuses root."""
    return {"user": user[0], "group": user[1], "extra_groups": []} if os.geteuid() == 0 else {}


def _configuration(server: Server, pooling: Pooling, bouncer: PgBouncer, folder: Path) -> str:
    left_out = "extra_float_digits" + (", options" if pooling.leaves_options_out else "")
    return f"""
[databases]
* = host={server.socket_dir} port={server.port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {bouncer.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder / "logins"}
pool_mode = {pooling.mode}
default_pool_size = {pooling.servers}
max_client_conn = 500
ignore_startup_parameters = {left_out}
# The next transaction gets another connection than the one before.
server_round_robin = 1
"""
