"""Supervision of several services: started and stopped together, and all stopped if one ends.

Those that others find again are started again instead; see :class:`Service`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType
from typing import Self
from urllib.parse import urlsplit

import psutil

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.local import log_files, private_files
from strava_pipeline.local.listeners import is_listening
from strava_pipeline.redaction import get_logger

GRACE_SECONDS = 10.0
POLL_SECONDS = 0.1
LOG_CAP_BYTES = 10 * 1024 * 1024
# The pause before a service is started again doubles each time, until one has run for the longest.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1
_LINK_OF_SQLALCHEMY = "(Background on this error at:"
_ERROR_OF_SQLALCHEMY = re.compile(r"sqlalchemy\.\S+: ")
logger = get_logger(__name__)


class ServiceFailed(StravaPipelineError):
    """A service did not become ready, or ended by itself; the message names the service and its log."""


@dataclass(frozen=True)
class Service:
    """One service: its command, log, additional environment variables and working folder.

    ``ready_url`` answers once the service is ready, or it listens on ``ready_socket``, a path. ``descriptors`` are open
    file descriptors that it inherits. One that ``is_restarted`` is started again when it ends by itself; what it had
    started goes on.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_url: str | None = None
    ready_socket: Path | None = None
    folder: Path | None = None
    descriptors: tuple[int, ...] = ()
    is_restarted: bool = False

    def is_ready(self) -> bool:
        """Whether the service answers."""
        if self.ready_socket is not None:
            return is_listening(self.ready_socket)
        return self.ready_url is None or answers(self.ready_url)


@dataclass
class _Running:
    """A service and its process; times are those of ``time.monotonic``, s."""

    service: Service
    process: subprocess.Popen[bytes]
    started_at: float
    # Before it is started again.
    pause: float = FIRST_PAUSE_SECONDS
    starts_again_at: float | None = None


class Supervisor:
    """Services in the order of their start; leaving the ``with`` block stops them in reverse order."""

    def __init__(self) -> None:
        self._running: list[_Running] = []
        self._seen: dict[int, psutil.Process] = {}
        # The service that does not answer yet.
        self.waited_for = "the first service"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, service: Service) -> None:
        """Start a service in a session of its own, so that Ctrl-C does not reach it directly."""
        private_files.make_folder(service.log.parent)
        log_files.rotate_unused(service.log, LOG_CAP_BYTES)
        self._running.append(_Running(service, _process_of(service), time.monotonic()))

    def wait_until_ready(self, seconds: float = 120) -> None:
        """Wait until each service answers; ``ServiceFailed`` names one that does not in time, or that ended.

        One that is to be started again is not waited for.
        """
        deadline = time.monotonic() + seconds
        for running in self._running:
            service = running.service
            self.waited_for = service.name
            while not service.is_ready() and running.starts_again_at is None:
                self._look_after_all()
                if time.monotonic() > deadline:
                    raise ServiceFailed(f"{service.name} is not ready after {seconds:.0f} s (log: {service.log})")
                time.sleep(POLL_SECONDS)
        self._look_after_all()

    def watch(self, care: Callable[[], None] = lambda: None) -> None:
        """Wait until SIGINT, SIGTERM or SIGHUP; ``ServiceFailed`` as soon as a service ends that is not restarted.

        ``care`` is called about once a second, to keep other things running.
        """
        with _stop_requested() as stop:
            while not stop:
                self._look_after_all()
                for running in self._running:
                    log_files.rotate_or_warn(running.service.log, LOG_CAP_BYTES)
                care()
                signal.sigtimedwait([signal.SIGCHLD], 1.0)

    def stop(self) -> None:
        """Stop all services and their descendants; kill those that still run after :data:`GRACE_SECONDS`."""
        for running in reversed(self._running):
            process = running.process
            # The number of one that has ended is another program's at the earliest once its end was seen.
            was_seen = process.returncode is not None
            if process.poll() is not None:
                if not was_seen:
                    self._remember(_processes_of_session(process.pid))
            else:
                self._remember_descendants(process.pid)
                process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
            if process.poll() is None:
                process.kill()
                process.wait()
        # Dagster's servers and runs end by themselves shortly after their parents.
        _, left = psutil.wait_procs(list(self._seen.values()), timeout=GRACE_SECONDS / 5)
        for descendant in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                descendant.kill()
        psutil.wait_procs(left, timeout=GRACE_SECONDS)
        self._running.clear()
        self._seen.clear()

    def _remember_descendants(self, pid: int) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            self._remember(psutil.Process(pid).children(recursive=True))

    def _remember(self, processes: Iterable[psutil.Process]) -> None:
        self._seen |= {process.pid: process for process in processes}

    def _look_after_all(self) -> None:
        for running in self._running:
            if running.process.poll() is None:
                continue
            if not running.service.is_restarted:
                raise ServiceFailed(_end_of(running))
            self._start_again(running)

    def _start_again(self, running: _Running) -> None:
        """Start a service that has ended, once its pause is over."""
        moment = time.monotonic()
        if running.starts_again_at is None:
            if moment - running.started_at > LONGEST_PAUSE_SECONDS:
                running.pause = FIRST_PAUSE_SECONDS
            logger.warning("%s; it is started again in %.0f s", _end_of(running), running.pause)
            # Nobody is their parent any more, and they go on.
            self._remember(_processes_of_session(running.process.pid))
            running.starts_again_at = moment + running.pause
            running.pause = min(2 * running.pause, LONGEST_PAUSE_SECONDS)
        elif moment >= running.starts_again_at:
            running.process, running.started_at = _process_of(running.service), moment
            running.starts_again_at = None


def find_free_port() -> int:
    """Return a port of this machine on which no program listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _process_of(service: Service) -> subprocess.Popen[bytes]:
    with private_files.open_to_append(service.log) as log:
        return subprocess.Popen(  # noqa: S603  commands of this package
            service.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | dict(service.environment),
            cwd=service.folder,
            start_new_session=True,
            pass_fds=service.descriptors,
            preexec_fn=_end_with_parent,  # noqa: PLW1509  one system call, no lock
        )


def _end_of(running: _Running) -> str:
    service, code = running.service, running.process.returncode
    return f"{service.name} ended with exit code {code}: {_last_line(service.log)} (log: {service.log})"


def _processes_of_session(session: int) -> Iterator[psutil.Process]:
    """The processes that a service has left behind: its session, which began with it, outlasts it."""
    for number in psutil.pids():
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(number) == session:
                yield psutil.Process(number)


def _end_with_parent() -> None:
    """Make the kernel end this child when the supervisor dies, even by kill -9 (Linux only).

    Signals get their default handlers and none is blocked, since a child inherits both from its parent.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def _stop_requested() -> Iterator[list[int]]:
    """Yield a list to which SIGINT, SIGTERM or SIGHUP is added; a second signal ends the process at once."""
    caught: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001  the signature is signal's
        if caught:
            raise KeyboardInterrupt
        caught.append(signum)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        yield caught
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        for number, handler in before.items():
            signal.signal(number, handler)


def answers(url: str) -> bool:
    """Whether a server on this machine answers, and not by an error, within two seconds."""
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=2)
    try:
        connection.request("GET", address.path or "/")
        return connection.getresponse().status < HTTPStatus.BAD_REQUEST
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _last_line(log: Path) -> str:
    """Return the last useful line of a log; after an error of SQLAlchemy follow its statement and a link."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if lines and lines[-1].startswith(_LINK_OF_SQLALCHEMY):
        lines = [line for line in lines if _ERROR_OF_SQLALCHEMY.match(line)] or lines[:-1]
    return _message_of(lines[-1].strip()) if lines else "its log is empty"


def _message_of(line: str) -> str:
    """The message of a line in JSON; any other line as it is."""
    try:
        found = json.loads(line)
    except ValueError:
        return line
    return str(found["message"]) if isinstance(found, dict) and "message" in found else line
