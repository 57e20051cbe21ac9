"""A stand-in for Dagster that launches the real job, each run in a process of its own, a few of them at once."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

from strava_pipeline_tests.placed import PLACE, place_told
from strava_pipeline_tests.strava.loopback import Asked
from strava_pipeline_tests.warm_processes import WarmProcess, WarmProcesses

VICTIM = "strava_pipeline_tests.e2e.victim"
# Nothing of ours, in which a victim lays its trap before others import it.
LIBRARIES = (
    "dagster",
    "flask",
    "psycopg",
    "pydantic_settings",
    "requests",
    "sqlalchemy.dialects.postgresql",
    "stamina",
)
# The others wait in a queue, as Dagster has one.
RUNS_AT_ONCE = 8


@dataclass
class RunLauncher:
    """Answers the bridge's GraphQL; the next runs die at the points of ``dies_at``, one each."""

    environment: dict[str, str]
    processes: WarmProcesses
    dies_at: list[str] = field(default_factory=list)
    # None: in the queue.
    runs: dict[str, WarmProcess | None] = field(default_factory=dict)
    queue: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(RUNS_AT_ONCE))

    def victim(self, *arguments: str, dies_at: str = "") -> WarmProcess:
        """A process that dies at a point, if one is named."""
        environment = os.environ | self.environment | {"VICTIM_DIES_AT": dies_at}
        return self.processes.start_silent(VICTIM, *arguments, env=environment)

    def alive(self) -> list[WarmProcess]:
        """Runs that are at work."""
        return [run for run in list(self.runs.values()) if run is not None and run.poll() is None]

    def all_have_ended(self) -> bool:
        """Whether no run is at work, or in the queue."""
        return all(run is not None and run.poll() is not None for run in list(self.runs.values()))

    def answer(self, params: dict[str, Any]) -> dict[str, Any]:
        if "runIds" in params:
            times = {"startTime": None, "updateTime": None}
            results = [times | {"runId": name, "status": self._state(name)} for name in params["runIds"]]
            return {"__typename": "Runs", "results": results}
        run_id = str(uuid4())
        fences = params["runConfigData"]["ops"]["strava_claimed_objects"]["config"]["fences"]
        point = self.dies_at.pop(0) if self.dies_at else ""
        self.runs[run_id] = None
        self.queue.submit(self._run, run_id, fences, point)
        return {"__typename": "LaunchRunSuccess", "run": {"id": run_id}}

    def end(self) -> None:
        """Drop what is in the queue, and kill the rest."""
        self.queue.shutdown(wait=False, cancel_futures=True)
        for run in self.alive():
            run.kill()
        self.queue.shutdown()

    def _run(self, run_id: str, fences: list[int], dies_at: str) -> None:
        run = self.runs[run_id] = self.victim("run", run_id, *map(str, fences), dies_at=dies_at)
        run.wait()

    def _state(self, run_id: str) -> str:
        run = self.runs[run_id]
        if run is None:
            return "QUEUED"
        return "STARTED" if run.poll() is None else "FAILURE"


@contextmanager
def run_launcher(environment: dict[str, str], processes: WarmProcesses) -> Iterator[tuple[RunLauncher, str]]:
    """A launcher and its address; its runs are ended with it."""
    launcher = RunLauncher(environment, processes)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            told = place_told(Asked("POST", self.path, {}, sent), [PLACE])
            answer = launcher.answer(json.loads(sent)["variables"]["params"]) if told is None else told
            body = json.dumps({"data": {"answer": answer}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the signature is http.server's
            """Keep the output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield launcher, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        launcher.end()
