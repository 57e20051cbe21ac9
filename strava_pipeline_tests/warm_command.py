"""``python -m strava_pipeline`` in a process of its own that finds its modules loaded.

A server loads them once, and forks for each call; to load Dagster takes longer than most commands run. A call has its
own arguments, environment, folder, umask, and streams, and its process ends as any other of Python does. That modules
are there already changes nothing: importing one of ours has no effect (``test_import_effects.py``).
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
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

PROGRAM = "strava_pipeline"
TIMEOUT_SECONDS = 400
STOPPING_SECONDS = 20
# Beside the modules of the commands: what most of them import when they run.
MODULES = (
    "dagster_postgres",
    "rich.live",
    "rich.table",
    "strava_pipeline.cli.instance",
    "strava_pipeline.defs.dagster_storage",
    "strava_pipeline.definitions",
    "webhook_bridge.app",
)


class WarmCommand:
    """Runs the command; a context manager, as the server runs until its end. One call at a time."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="strava-pipeline-warm-")
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()
        if self._server is not None:
            self._server.communicate(timeout=STOPPING_SECONDS)
            assert self._server.returncode == 0

    def run(
        self, *arguments: str, env: Mapping[str, str], timeout: float = TIMEOUT_SECONDS
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the command to its end; as ``subprocess.run`` does with captured output.

        ``timeout``: seconds. ``subprocess.TimeoutExpired`` afterwards, the process killed.
        """
        stdout, stderr = (Path(self._folder.name) / name for name in ("stdout", "stderr"))
        code = self.run_on(("/dev/null", stdout, stderr), *arguments, env=env, timeout=timeout)
        return subprocess.CompletedProcess(arguments, code, stdout.read_bytes(), stderr.read_bytes())

    def run_on(
        self,
        streams: tuple[str | Path, str | Path, str | Path],
        *arguments: str,
        env: Mapping[str, str],
        timeout: float = TIMEOUT_SECONDS,
    ) -> int:
        """The same with these files or terminals as standard streams; the exit code, or the signal's number below 0."""
        if self._server is None:
            self._server = _start()
        assert self._server.stdin is not None
        request = {
            "arguments": arguments,
            "environment": dict(env),
            "folder": str(Path.cwd()),
            "umask": _umask(),
            "streams": [str(stream) for stream in streams],
        }
        self._server.stdin.write(f"{json.dumps(request)}\n".encode())
        process = self._answer(TIMEOUT_SECONDS)
        try:
            return self._answer(timeout)
        except TimeoutError:
            os.kill(process, signal.SIGKILL)
            self._answer(TIMEOUT_SECONDS)
            raise subprocess.TimeoutExpired(arguments, timeout) from None

    def _answer(self, timeout: float) -> int:
        """The server's next number; ``TimeoutError`` if it does not come."""
        assert self._server is not None
        assert self._server.stdout is not None
        if not select.select([self._server.stdout], [], [], timeout)[0]:
            raise TimeoutError
        line = self._server.stdout.readline()
        assert line, "the server of warm commands has ended"
        return int(line)


def _start() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", __name__]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("STRAVA_", "DAGSTER_"))}
    # Read when Python starts: its children, too, write UTF-8.
    return subprocess.Popen(
        command, env=environment | {"PYTHONUTF8": "1"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def serve() -> dict[str, Any] | None:
    """Fork for each request; returns it in the new process, and nothing in the server at the end of all requests."""
    from strava_pipeline.cli import COMMANDS  # noqa: PLC0415  the tests' own process need not load it

    for name in (*MODULES, *(f"strava_pipeline.cli.{module}" for module, _ in COMMANDS.values())):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    assert threading.active_count() == 1, "a fork would lose a thread"
    for line in iter(sys.stdin.buffer.readline, b""):
        process = os.fork()
        if process == 0:
            request: dict[str, Any] = json.loads(line)
            return request
        _tell(process)
        _tell(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
    return None


def _tell(number: int) -> None:
    os.write(sys.__stdout__.fileno(), f"{number}\n".encode())  # type: ignore[union-attr]  it is there


def become_command(request: Mapping[str, Any]) -> None:
    """Turn this process into the command, as if it had been started so."""
    for descriptor, path in enumerate(request["streams"]):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOCTTY, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    os.umask(request["umask"])
    sys.argv[1:] = request["arguments"]
    runpy.run_module(PROGRAM, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    requested = serve()
    if requested is not None:
        become_command(requested)
