"""The embedded Postgres as the process behind ``up`` keeps it running, for years, with few libraries.

That process inherits the lock by which :mod:`.postgres` knows who uses the server. It looks whether the server runs. To
start it again, or to release it in the end, it calls :mod:`.kept_server_actions` in a process that ends soon.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.local import log_files, private_files

SOCKET: Final = ".s.PGSQL.5432"
LOG: Final = "server.log"
LOG_CAP_BYTES: Final = 10 * 1024 * 1024
# For programs in the folder where `up` was called: they look for no module there (:mod:`.work_folder`).
PYTHON: Final = (sys.executable, "-P", "-m")
ACTIONS: Final = (*PYTHON, "strava_pipeline.local.kept_server_actions")
# How the process of an action ends.
DONE, FAILED, STARTED, MOVED = 0, 1, 10, 11
# Processes of the old server may need a moment to end.
PAUSE_SECONDS: Final = 5.0


class ServerMoved(WarehouseError):
    """The server runs, but its socket is in another folder than before, so this process must start again."""


@dataclass
class KeptServer:
    """A server that this process uses; ``lock`` is the descriptor of the locked file."""

    home: Path
    data: Path
    socket_dir: Path
    lock: int
    # Not looked at before this moment, on the clock of ``time.monotonic``.
    _next_look: float = field(default=0.0, init=False)

    def is_running(self) -> bool:
        """Whether the server of these data runs, and its socket is where it was."""
        try:
            number, *_ = private_files.read_tail(self.data / "postmaster.pid").split(b"\n")
            is_server = str(self.data) in psutil.Process(int(number)).cmdline()
        except (FileNotFoundError, ConfigurationError, ValueError, psutil.NoSuchProcess):
            return False
        return is_server and (self.socket_dir / SOCKET).exists()

    def look_after(self, say: Callable[[str], None]) -> None:
        """Start the server again if it has ended, and rotate its log; :class:`ServerMoved` if it cannot be found again.

        Failures are said, and tried again at a later call.
        """
        log_files.rotate_or_warn(self.data / LOG, LOG_CAP_BYTES)
        if time.monotonic() < self._next_look or self.is_running():
            return
        done = self._act("revive")
        reason = done.stderr.strip()
        if done.returncode == MOVED:
            raise ServerMoved(reason)
        if done.returncode == STARTED:
            say("Postgres had ended: started it again")
        elif done.returncode != DONE:
            say(f"{reason}; trying again")
            self._next_look = time.monotonic() + PAUSE_SECONDS

    def release(self) -> None:
        """Release the server; the last process to do so stops it. ``WarehouseError`` if that fails."""
        done = self._act("release")
        if done.returncode != DONE:
            raise WarehouseError(done.stderr.strip())

    def _act(self, action: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603  a constant, and paths of our own
            [*ACTIONS, action, str(self.home), str(self.socket_dir), str(self.lock)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            # Ctrl-C does not reach it: half a start or stop would be of no use.
            start_new_session=True,
            pass_fds=(self.lock,),
            check=False,
        )
