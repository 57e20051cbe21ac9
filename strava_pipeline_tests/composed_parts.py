"""The parts of ``deploy/compose.yaml`` as processes of this machine: their secrets, environment and Postgres."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from strava_pipeline.local import postgres
from strava_pipeline.local.server_user import server_ids
from strava_pipeline_tests.deploy.compose import FILLED_IN, FOLDER, filled_in, secret_variables_of, services
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.ports import free_port


def make_secrets(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the script in a folder of its own."""
    script = folder / "make-secrets"
    if not script.exists():
        shutil.copy(FOLDER / "make-secrets", script)
    return subprocess.run(
        [script], cwd="/", capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True, umask=0o022
    )


def environment_of(service: str, secrets: Path, change: Callable[[str], str] = str) -> dict[str, str]:
    """What a service of ours is started with, the files of its secrets in this folder, their texts changed."""
    found = services()[service]
    environment: dict[str, str] = filled_in(found["environment"], FILLED_IN)
    for variable, secret in secret_variables_of(found).items():
        path = secrets / "secrets" / secret
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
        environment[f"{variable}_FILE"] = str(path)
    return environment


@dataclass(frozen=True)
class NewPostgres:
    """A server as the image of Postgres makes it: its port on loopback, and the superuser's password."""

    port: int
    password: str

    def run_logins(self, secrets: Path) -> None:
        """Run the script as compose does."""
        variables = {
            "PATH": f"{postgres._binaries()}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "SECRETS": str(secrets / "secrets"),
        }
        done = subprocess.run(
            ["/bin/sh", FOLDER / "compose" / "logins.sh"],
            env=variables, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")

    def here(self, text: str) -> str:
        """An address of compose's network as one of this machine."""
        return text.replace("@postgres:5432/", f"@127.0.0.1:{self.port}/")


@contextmanager
def running_postgres(secrets: Path) -> Iterator[NewPostgres]:
    """Start a server with compose's options and nothing in it; it is ended afterwards."""
    # Not below pytest's own folder: its permissions keep Postgres' user out.
    with tempfile.TemporaryDirectory(prefix="strava-pipeline-compose-") as name:
        folder, port = Path(name), free_port()
        os.chown(folder, *server_ids())
        password = (secrets / "secrets" / "postgres_password").read_text(encoding="utf-8")
        noted = folder / "password"
        noted.write_text(password, encoding="utf-8")
        os.chown(noted, *server_ids())
        data = str(folder / "data")
        made = postgres._command(
            folder, "initdb", "-D", data, "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={noted}", "--no-sync"
        )
        assert made.returncode == 0, made.stdout
        options = " ".join([*services()["postgres"]["command"][1:], f"-p {port}", "-c listen_addresses=127.0.0.1"])
        control = ("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"))
        started = postgres._command(
            folder, *control, "-o", f"{options} -c unix_socket_directories={folder} -c fsync=off", "start"
        )
        assert started.returncode == 0, (folder / "log").read_text(encoding="utf-8")
        try:
            yield NewPostgres(port, password)
        finally:
            postgres._command(folder, *control, "-m", "immediate", "stop")
