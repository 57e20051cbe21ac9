"""The parts of ``deploy/compose.yaml``, each with its own settings and secrets and no others, work together.

They are processes of this machine, started by the image's entrypoint; ``test_image.py`` starts containers.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from strava_pipeline.cli.doctor.findings import Verdict
from strava_pipeline_tests.composed_parts import NewPostgres, environment_of, make_secrets, running_postgres
from strava_pipeline_tests.deploy.compose import FOLDER
from strava_pipeline_tests.doctor_checks import findings_of
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.ports import free_port

CONTAINER = FOLDER / "container"
LOOPBACK = "127.0.0.1"
HEALTHY = 0
ALERT = "strava_away"


@dataclass(frozen=True)
class Composed:
    """Parts that run: what they share, and the log of each."""

    folder: Path
    server: NewPostgres
    code_server: int = field(default_factory=free_port)
    webserver: int = field(default_factory=free_port)
    bridge: int = field(default_factory=free_port)

    def environment(self, service: str) -> dict[str, str]:
        """What a service is started with, the names of compose's network being addresses of this machine."""
        return {
            "PATH": f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
            "STRAVA_HOME": str(self.folder / "home"),
            **environment_of(service, self.folder, self.server.here),
            "STRAVA_ERASURES_URL": str(self.folder / "erasures"),
            # As .env.example has it.
            "STRAVA_WEBHOOK_SIGNATURE": "off",
            "DAGSTER_WEBSERVER_URL": f"http://{LOOPBACK}:{self.webserver}",
            "STRAVA_BRIDGE_PORT": str(self.bridge),
            "CODE_SERVER_HOST": LOOPBACK,
            "CODE_SERVER_PORT": str(self.code_server),
        }

    def script(self, name: str, part: str) -> str:
        """The text of a script of the image, with files of this test's."""
        text = (CONTAINER / name).read_text(encoding="utf-8")
        text = text.replace("/opt/strava-pipeline/workspace.yaml", str(CONTAINER / "workspace.yaml"))
        return text.replace("/tmp/strava-pipeline-part", str(self.folder / f"{part}.part"))  # noqa: S108

    def start(self, part: str, *options: str) -> subprocess.Popen[bytes]:
        """Start a part as the image does."""
        with self.log(part).open("wb") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", self.script("entrypoint", part), "entrypoint", part, *options],
                env=self.environment(part), cwd="/", stdout=log, stderr=log,
            )  # fmt: skip

    def run(self, service: str, *words: str) -> str:
        """What a service that ends prints for these words; it must succeed."""
        command = ["/bin/sh", "-c", self.script("entrypoint", service), "entrypoint", *words]
        done = subprocess.run(
            command, env=self.environment(service), cwd="/", capture_output=True, text=True, timeout=PATIENCE_SECONDS,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def is_healthy(self, part: str) -> bool:
        """Whether the image's health check says so, in the part's own environment."""
        command = ["/bin/sh", "-c", self.script("healthcheck", part), "healthcheck"]
        done = subprocess.run(command, env=self.environment(part), cwd="/", capture_output=True, check=False)
        return done.returncode == HEALTHY

    def log(self, part: str) -> Path:
        """The file of what a part prints."""
        return self.folder / f"{part}.log"


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[Composed]:
    """The parts that compose starts, in its order."""
    make_secrets(tmp_path)
    with running_postgres(tmp_path) as server, ExitStack() as ends:
        server.run_logins(tmp_path)
        composed = Composed(tmp_path, server)
        composed.run("migrate", "migrate")
        for part, options in (
            ("code-server", ("--host", LOOPBACK)),
            ("webserver", ("--host", LOOPBACK)),
            ("daemon", ()),
            ("bridge", ("--host", LOOPBACK)),
        ):
            process = composed.start(part, *options)
            ends.callback(_end, process)
            if part == "code-server":
                eventually(lambda: _listens(composed.code_server), "a code server that listens")
        yield composed


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE_SECONDS)


def is_well(check: str) -> bool:
    """Whether a check of ``doctor`` finds nothing wrong."""
    return {finding.verdict for finding in findings_of(check)} == {Verdict.OK}


def test_each_part_has_what_it_needs(composed: Composed, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in composed.environment("command").items():
        monkeypatch.setenv(name, value)
    for check in ("webserver", "code location", "daemon", "bridge"):
        eventually(partial(is_well, check), f"{check} that is well")
    for part in ("code-server", "webserver", "daemon", "bridge"):
        assert composed.is_healthy(part), part
    # What analysts may take is limited, too, as logins.sh sees to.
    for check in ("database", "tables", "logins", "Dagster's database"):
        assert is_well(check), findings_of(check)
    for part in ("code-server", "webserver", "daemon", "bridge"):
        assert "Traceback" not in composed.log(part).read_text(encoding="utf-8"), part


def test_a_backup_is_restored_on_a_new_machine(tmp_path: Path) -> None:
    """As docs/compose.md says: what the old machine's `command` has dumped, the new one's loads beside `logins`."""
    old_folder, new_folder = tmp_path / "old", tmp_path / "new"
    old_folder.mkdir()
    make_secrets(old_folder)
    (old_folder / "secrets" / "strava_client_secret").write_text("as Strava's page shows it\n", encoding="utf-8")
    shutil.copytree(old_folder / "secrets", new_folder / "secrets")
    with running_postgres(old_folder) as server:
        server.run_logins(old_folder)
        old = Composed(old_folder, server)
        old.run("migrate", "migrate")
        old.run("command", "alerts", "silence", ALERT, "--for", "1h", "--because", "a new disk")
        old.run("command", "backup", str(tmp_path / "backups"))
    (backup,) = (tmp_path / "backups").iterdir()
    (new_folder / "erasures").mkdir()
    with running_postgres(new_folder) as server:
        server.run_logins(new_folder)
        new = Composed(new_folder, server)
        new.run("command", "restore", "load", str(backup))
        new.run("migrate", "migrate")
        assert new.run("command", "restore", "check").splitlines()[-1].startswith("passed: ")
        assert ALERT in new.run("command", "sql", "SELECT * FROM ops.alert_silences")
