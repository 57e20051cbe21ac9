"""Processes of Python that find their modules loaded; to load Dagster takes longer than most commands run.

A server loads them once, and forks for each process. A process has its own program, arguments, environment, folder,
umask and streams, and ends as any other of Python does. That modules are there already changes nothing: importing
one of ours has no effect (``test_import_effects.py``).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self, TextIO

from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.network_namespaces import Host

COMMAND = "strava_pipeline"
# What commands import when they run.
COMMAND_MODULES = (
    "dagster_postgres",
    "rich.live",
    "rich.table",
    "strava_pipeline.cli.backfill_view",
    "strava_pipeline.cli.instance",
    "strava_pipeline.defs.dagster_storage",
    "strava_pipeline.definitions",
    "strava_pipeline.mock_strava.app",
    "strava_pipeline.mock_strava.server",
    "webhook_bridge.app",
    "webhook_bridge.server",
)
TIMEOUT_SECONDS = 900
LISTENING_SECONDS = 0.02
NOWHERE = "/dev/null"


@dataclass
class WarmProcess:
    """A process as ``subprocess.Popen`` has it, as far as tests need it; ``stdout`` holds both streams."""

    args: tuple[str, ...]
    pid: int
    stdout: TextIO | None
    _processes: WarmProcesses
    returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, or the signal's number below 0, once it has ended."""
        if self.returncode is None:
            self._processes.listen(0)
            self.returncode = self._processes.ended.get(self.pid)
        return self.returncode

    def wait(self, timeout: float = TIMEOUT_SECONDS) -> int:
        """Its exit code; ``subprocess.TimeoutExpired`` if it has not ended after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout)
            self._processes.listen(LISTENING_SECONDS)
        return code

    def communicate(self, timeout: float = TIMEOUT_SECONDS) -> tuple[str, None]:
        """The rest of its output, after its end; raises as :meth:`wait`, the output is lost then."""
        parts: list[str] = []
        if self.stdout is None or self.stdout.closed:
            self.wait(timeout)
            return "", None
        # Read meanwhile, since a process that nobody listens to stands still.
        reader = threading.Thread(target=lambda stdout: parts.append(stdout.read()), args=(self.stdout,), daemon=True)
        reader.start()
        self.wait(timeout)
        reader.join(timeout)
        self.stdout.close()
        return "".join(parts), None

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.stdout is not None:
            self.stdout.close()
        self.wait()


@dataclass
class WarmProcesses:
    """Starts processes that find ``modules`` loaded; a context manager, at whose end all are killed."""

    modules: tuple[str, ...]
    # Exit codes by process.
    ended: dict[int, int] = field(default_factory=dict)
    _folder: TemporaryDirectory[str] = field(default_factory=lambda: TemporaryDirectory(prefix="strava-pipeline-warm-"))
    _server: subprocess.Popen[bytes] | None = None
    _guard: threading.RLock = field(default_factory=threading.RLock)
    _started: int = 0
    _new: list[int] = field(default_factory=list)

    def __enter__(self) -> Self:
        # Not when the first process is asked for: a thread may be inside a host's network by then, and all processes
        # of the test run would be there.
        self._server = _start(self.modules)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()
        assert self._server is not None
        self._server.communicate(timeout=PATIENCE_SECONDS)
        assert self._server.returncode == 0

    def run(
        self, *arguments: str, env: Mapping[str, str], timeout: float = TIMEOUT_SECONDS
    ) -> subprocess.CompletedProcess[bytes]:
        """Run our command to its end; as ``subprocess.run`` does with captured output.

        ``timeout``: seconds. ``subprocess.TimeoutExpired`` afterwards, the process killed.
        """
        stdout, stderr = self._new_path(), self._new_path()
        code = self.run_on((NOWHERE, str(stdout), str(stderr)), *arguments, env=env, timeout=timeout)
        return subprocess.CompletedProcess(arguments, code, stdout.read_bytes(), stderr.read_bytes())

    def run_on(
        self,
        streams: tuple[str, str, str],
        *arguments: str,
        env: Mapping[str, str],
        timeout: float = TIMEOUT_SECONDS,
    ) -> int:
        """Run our command with these files or terminals as standard streams; returns and raises as :meth:`run`."""
        process = WarmProcess(arguments, self._fork(COMMAND, streams, arguments, env), None, self)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def start(self, module: str, *arguments: str, env: Mapping[str, str]) -> WarmProcess:
        """Run a module as a program in the background, its output readable line by line."""
        pipe = self._new_path()
        os.mkfifo(pipe, 0o600)
        pid = self._fork(module, (NOWHERE, str(pipe), str(pipe)), arguments, env)
        return WarmProcess((module, *arguments), pid, pipe.open(encoding="utf-8"), self)

    def start_silent(
        self,
        module: str,
        *arguments: str,
        env: Mapping[str, str],
        output: Path | str = NOWHERE,
        host: Host | None = None,
    ) -> WarmProcess:
        """Run a module as a program in the background, its output in a file, or thrown away; ``host``: at which."""
        pid = self._fork(module, (NOWHERE, str(output), str(output)), arguments, env, host)
        return WarmProcess((module, *arguments), pid, None, self)

    def listen(self, seconds: float) -> None:
        """Take from the server what it says within that time."""
        with self._guard:
            assert self._server is not None
            assert self._server.stdout is not None
            if not select.select([self._server.stdout], [], [], seconds)[0]:
                return
            match self._server.stdout.readline().decode().split():
                case ["new", pid]:
                    self._new.append(int(pid))
                case ["ended", pid, code]:
                    self.ended[int(pid)] = int(code)
                case _:
                    raise AssertionError("the server of warm processes has ended")

    def _new_path(self) -> Path:
        with self._guard:
            self._started += 1
            return Path(self._folder.name) / str(self._started)

    def _fork(
        self,
        module: str,
        streams: tuple[str, str, str],
        arguments: tuple[str, ...],
        env: Mapping[str, str],
        host: Host | None = None,
    ) -> int:
        request = {
            "module": module,
            "arguments": arguments,
            "environment": dict(env),
            "folder": str(Path.cwd()),
            "umask": _umask(),
            "streams": streams,
            "host": None if host is None else asdict(host),
        }
        with self._guard:
            assert self._server is not None
            assert self._server.stdin is not None
            self._server.stdin.write(f"{json.dumps(request)}\n".encode())
            while not self._new:
                self.listen(TIMEOUT_SECONDS)
            pid = self._new.pop()
            # Of an earlier process with this number.
            self.ended.pop(pid, None)
            return pid


def _start(modules: tuple[str, ...]) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("STRAVA_", "DAGSTER_"))}
    return subprocess.Popen(
        [sys.executable, "-m", __name__, *modules],
        # Read when Python starts: all its processes write UTF-8.
        env=environment | {"PYTHONUTF8": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def serve(modules: list[str]) -> dict[str, Any] | None:
    """Fork for each request; returns it in the new process, and nothing in the server at the end of all requests."""
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    assert threading.active_count() == 1, "a fork would lose a thread"
    requests = sys.stdin.buffer
    wakes, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    alive: set[int] = set()
    while True:
        ready, _, _ = select.select([requests, wakes], [], [])
        if wakes in ready:
            os.read(wakes, 4096)
            _reap(alive, os.WNOHANG)
        if requests not in ready:
            continue
        line = requests.readline()
        if not line:
            for pid in alive:
                os.kill(pid, signal.SIGKILL)
            _reap(alive, 0)
            return None
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(wakes)
            os.close(woken)
            request: dict[str, Any] = json.loads(line)
            return request
        alive.add(pid)
        _tell("new", pid)


def _reap(alive: set[int], options: int) -> None:
    while alive:
        pid, status = os.waitpid(-1, options)
        if pid == 0:
            return
        alive.discard(pid)
        _tell("ended", pid, os.waitstatus_to_exitcode(status))


def _tell(what: str, *numbers: int) -> None:
    os.write(1, f"{' '.join([what, *map(str, numbers)])}\n".encode())


def become(request: Mapping[str, Any]) -> None:
    """Turn this process into the program, as if it had been started so."""
    if request["host"] is not None:
        Host(**request["host"]).become()
    stdin, *outputs = request["streams"]
    _open_as(0, stdin, os.O_RDONLY)
    for descriptor, path in enumerate(outputs, 1):
        # Both may be one file, and processes of this one may write there, too.
        _open_as(descriptor, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    os.umask(request["umask"])
    # A script that runs the tests in the background has them ignore SIGINT; Dagster's code server then ignores SIGTERM.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv[1:] = request["arguments"]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def _open_as(descriptor: int, path: str, flags: int) -> None:
    opened = os.open(path, flags | os.O_NOCTTY, 0o600)
    os.dup2(opened, descriptor)
    os.close(opened)


if __name__ == "__main__":
    requested = serve(sys.argv[1:])
    if requested is not None:
        become(requested)
