"""Processes that use one athlete's tokens, forked in milliseconds from one that has loaded everything.

Run as a module it forks one for each line it reads, and ends them when its input ends. Lines are

- ``meet REJECTED [POINT]``: meet an expired token once, and say ``token TOKEN`` or ``error KIND``; at POINT the
  process kills itself, as if from outside;
- ``loop``: meet an expired token again and again, until killed, or until that fails: ``error KIND``;
- ``loop aloud``: the same, and say ``kept READ COMMITTED`` whenever an answer is in the journal: when it had been
  read from the wire, and when it was committed (monotonic s);
- ``rotate``: give all rows the writing key, and say ``rotated ATHLETE`` for each, then ``done``.

Each says ``ready`` first, and begins once nobody holds the gate (an advisory lock) any more.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import traceback
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self

import psutil
import requests
from sqlalchemy import Engine, event, text

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.keyring import Keyring
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava import oauth
from strava_pipeline.strava.http import new_session
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.warehouse.engine import ensure_database_url, open_engine
from strava_pipeline.warehouse.tokens.key_rotation import rotate
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually

RIDER = 2**40
GATE = 4711
# After which statement a process dies; the other points are in its call to Strava, or behind everything.
STATEMENTS = {"journal": "UPDATE ops.token_journal", "users": "UPDATE ops.users"}
POINTS = ("intent", "answer", *STATEMENTS, "done")


@dataclass
class TokenProcesses:
    """The process that forks, and what was heard of the forked ones."""

    _parent: subprocess.Popen[str]
    _heard: defaultdict[int, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    _new: deque[int] = field(default_factory=deque)

    @classmethod
    def begin(cls, **variables: str) -> Self:
        """With the settings of this process's environment and these; ends with :meth:`end`."""
        return cls(
            subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | variables,
            )
        )

    def fork(self, line: str) -> int:
        """A process that does what the line says; returns its id once it is ready."""
        assert self._parent.stdin is not None
        self._parent.stdin.write(f"{line}\n")
        self._parent.stdin.flush()
        while not self._new:
            self._listen()
        return self._new.popleft()

    def report(self, process: int) -> str:
        """The next thing a process says."""
        while not self._heard[process]:
            self._listen()
        return self._heard[process].popleft()

    def said(self, process: int) -> list[str]:
        """What a process has said and nobody has heard, as far as it came before the last one was ready."""
        said = list(self._heard[process])
        self._heard[process].clear()
        return said

    def kill(self, process: int) -> None:
        """Not reaped before the end, so the id stays its own."""
        os.kill(process, signal.SIGKILL)
        wait_for_death(process)

    def end(self) -> None:
        """Kill what is left."""
        with self._parent:
            self._parent.communicate(timeout=PATIENCE_SECONDS)

    def _listen(self) -> None:
        assert self._parent.stdout is not None
        line = self._parent.stdout.readline()
        assert line, "the process that forks has ended"
        process, _, said = line.strip().partition(" ")
        if said == "ready":
            self._new.append(int(process))
        else:
            self._heard[int(process)].append(said)


def is_alive(process: int) -> bool:
    """Whether a forked process goes on; until the end nobody reaps it."""
    return psutil.Process(process).status() != psutil.STATUS_ZOMBIE


def wait_for_death(process: int) -> None:
    """Until a process that was killed, or killed itself, has ended."""
    eventually(lambda: not is_alive(process), f"the end of process {process}")


@contextmanager
def gate_closed(engine: Engine) -> Iterator[None]:
    """Processes that are ready wait until the end of the block."""
    with engine.connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_lock({GATE})"))
        yield
        connection.execute(text(f"SELECT pg_advisory_unlock({GATE})"))


def main() -> None:
    settings = load_settings()
    children = []
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _begin(settings, line.split())
        children.append(child)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _begin(settings: Settings, words: list[str]) -> NoReturn:
    try:
        engine = open_engine(ensure_database_url(settings))
        store = PostgresTokenStore(engine, Keyring.parse(settings.required("token_keys")))
        _say("ready")
        with engine.connect() as connection:
            connection.execute(text(f"SELECT pg_advisory_lock_shared({GATE}), pg_advisory_unlock_shared({GATE})"))
        with new_session() as session:
            match words:
                case ["meet", rejected, *point]:
                    _meet(settings, store, session, rejected, "".join(point))
                case ["loop", *aloud]:
                    _loop(settings, store, session, aloud=bool(aloud))
                case ["rotate"]:
                    for row in rotate(engine, store.keyring):
                        _say(f"rotated {row.athlete_id}")
                    _say("done")
    except StravaPipelineError as error:
        _say(f"error {type(error).__name__}")
    except BaseException:  # noqa: BLE001  a forked process must not go on in its parent's place
        traceback.print_exc()
        _say("fault")
    finally:
        os._exit(0)


def _meet(settings: Settings, store: PostgresTokenStore, session: requests.Session, rejected: str, point: str) -> None:
    def refresh(refresh_token: Secret) -> TokenGrant:
        if point == "intent":
            _die()
        grant = oauth.refresh(settings, session, refresh_token)
        if point == "answer":
            _die()
        return grant

    if point in STATEMENTS:
        after(store.engine, STATEMENTS[point], _die)
    token = store.refresh_once(RIDER, Secret(rejected), refresh)
    if point == "done":
        _die()
    _say(f"token {token.reveal()}")


def _loop(settings: Settings, store: PostgresTokenStore, session: requests.Session, *, aloud: bool) -> None:
    read_at = [0.0]

    def refresh(refresh_token: Secret) -> TokenGrant:
        grant = oauth.refresh(settings, session, refresh_token)
        read_at[0] = time.monotonic()
        return grant

    if aloud:
        after(store.engine, STATEMENTS["journal"], lambda: _say(f"kept {read_at[0]} {time.monotonic()}"))
    while True:
        store.refresh_once(RIDER, store.access_token(RIDER), refresh)


def after(engine: Engine, beginning: str, act: Callable[[], None]) -> None:
    """Act once the database has answered a statement that begins so."""

    @event.listens_for(engine, "after_cursor_execute")
    def notice(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(beginning):
            act()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _say(said: str) -> None:
    os.write(sys.stdout.fileno(), f"{os.getpid()} {said}\n".encode())


if __name__ == "__main__":
    main()
