"""The lock of Dagster's storage as the process behind ``up`` keeps it, for years, with few libraries.

That process inherits the socket of the connection that holds the lock (:mod:`strava_pipeline.warehouse.storage_lock`),
and says nothing on it. The server frees the lock once no process has the socket any more. If the server ends the
connection, a process that ends soon takes the lock anew, and passes on its socket.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from strava_pipeline.errors import WarehouseError
from strava_pipeline.local.kept_server import DONE, FAILED, PAUSE_SECONDS, PYTHON

# How the process of an attempt ends, beside `DONE`.
TAKEN: Final = 12
ATTEMPT: Final = (*PYTHON, "strava_pipeline.cli.storage_lock")
# Connecting alone may take 5 s for each host of the address.
ATTEMPT_SECONDS: Final = 30.0


class StorageTaken(WarehouseError):
    """Another ``up`` has the lock; the message says which one, and what to do."""


@dataclass
class KeptLock:
    """The socket of a connection that holds the lock, by its ``descriptor``.

    The process of an attempt to take the lock anew gets the variables in ``environment``.
    """

    descriptor: int
    environment: Mapping[str, str] = field(repr=False)
    _next_look: float = field(default=0.0, init=False)
    _said: str = field(default="", init=False)

    def is_held(self) -> bool:
        """Whether the server has not ended the connection."""
        poll = select.poll()
        # Messages that nobody reads, such as one of a changed setting, are no end.
        poll.register(self.descriptor, select.POLLRDHUP)
        return not poll.poll(0)

    def look_after(self, say: Callable[[str], None]) -> None:
        """Take the lock anew if it is lost; :class:`StorageTaken` if another ``up`` has it by now.

        Other failures are said once, and tried again at a later call.
        """
        if time.monotonic() < self._next_look or self.is_held():
            return
        ours, theirs = socket.socketpair()
        with ours, theirs:
            code, reason = self._attempt(theirs)
            if code == DONE:
                self._replace(socket.recv_fds(ours, 1, 1)[1][0])
        if code == TAKEN:
            raise StorageTaken(reason)
        self._next_look = time.monotonic() + PAUSE_SECONDS
        said = "" if code == DONE else f"{reason}; trying again"
        if said and said != self._said:
            say(said)
        self._said = said

    def _attempt(self, theirs: socket.socket) -> tuple[int, str]:
        """Let a process take the lock, which passes on its socket by ``theirs``; how it ended, and its reason."""
        try:
            done = subprocess.run(  # noqa: S603  a constant, and numbers
                [*ATTEMPT, str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=os.environ | dict(self.environment),
                # Ctrl-C does not reach it.
                start_new_session=True,
                pass_fds=(theirs.fileno(),),
                check=False,
                # The services are not looked after meanwhile.
                timeout=ATTEMPT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return FAILED, f"the server of Dagster's storage gave no answer within {ATTEMPT_SECONDS:.0f} s"
        return done.returncode, done.stderr.strip()

    def _replace(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        os.close(self.descriptor)
        self.descriptor = descriptor
