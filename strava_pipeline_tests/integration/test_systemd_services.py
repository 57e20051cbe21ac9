"""Services of systemd, without systemd: their commands with their environment, closed in, and stopped as it does.

On a busy machine the single service took 100 s, the parts 57 s.
"""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import requests

from strava_pipeline.keyring import generate_key
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.systemd_sandbox import OPT, Unit, of_namespace, start

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
STATE, RUNTIME, CONFIGURATION = "/var/lib/strava-pipeline", "/run/strava-pipeline", "/etc/strava-pipeline"
BACKUPS = "/srv/backups"


@pytest.fixture
def folders() -> Iterator[dict[str, Path]]:
    """The folders that systemd, or the operator, makes for the services."""
    # Not below pytest's own folder: its permissions keep other users out.
    with tempfile.TemporaryDirectory(prefix="strava-pipeline-systemd-") as made:
        found = {path: Path(made) / Path(path).parent.name for path in (STATE, RUNTIME, CONFIGURATION, BACKUPS)}
        for folder in found.values():
            folder.mkdir()
        yield found


@pytest.fixture
def addresses() -> dict[str, str]:
    """Where bridge and webserver listen."""
    return {
        "STRAVA_BRIDGE_PORT": str(free_port()),
        "DAGSTER_WEBSERVER_URL": f"http://127.0.0.1:{free_port()}",
        "STRAVA_RUNS_AT_ONCE": "2",
    }


def answers(url: str) -> bool:
    with suppress(requests.RequestException):
        return requests.get(url, timeout=5).ok
    return False


def stop(unit: Unit, process: subprocess.Popen[bytes]) -> None:
    """Stop a service as systemd does; returns once nothing of it is left."""
    everything = of_namespace(process.pid)
    assert process.pid in everything
    # KillMode: to the main process alone, or to all.
    for number in [process.pid] if unit.all("KillMode") == ["mixed"] else everything:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGTERM)
    process.wait(int(unit.one("TimeoutStopSec")))
    eventually(lambda: not any(Path(f"/proc/{number}").exists() for number in everything), "the end of all processes")


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """A process that ends with the block, whatever happens in it."""
    try:
        yield
    finally:
        process.kill()
        process.wait()


def back_up(folders: dict[str, Path], log: Path) -> None:
    """Make a backup beside the single service, as the timer has it made."""
    unit = Unit(UNITS / "strava-pipeline-backup.service")
    written = {path: folders[path] for path in (STATE, *unit.all("ReadWritePaths"))}
    for command in (unit.command, unit.one("ExecStartPost").split()):
        assert start(unit, written, {}, log, command).wait() == 0, log.read_text()
    (made,) = folders[BACKUPS].iterdir()
    assert {path.name for path in made.iterdir()} == {"tables.dump", "dagster.dump", "backup.json"}


def test_everything_as_one_service(folders: dict[str, Path], addresses: dict[str, str], tmp_path: Path) -> None:
    unit = Unit(UNITS / "strava-pipeline.service")
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for path in (STATE, BACKUPS):
            os.chown(folders[path], nobody.pw_uid, nobody.pw_gid)
        folders[STATE].parent.chmod(0o711)
    state, log = {STATE: folders[STATE]}, tmp_path / "log"
    assert start(unit, state, {}, log, [f"{OPT}/bin/strava-pipeline", "init"]).wait() == 0, log.read_text()
    process = start(unit, state, addresses, log)
    with ended(process):
        eventually(lambda: process.poll() is not None or "Ctrl-C stops" in log.read_text(), "a running service")
        assert process.poll() is None, log.read_text()
        assert answers(f"http://127.0.0.1:{addresses['STRAVA_BRIDGE_PORT']}/health/ready")
        assert answers(f"{addresses['DAGSTER_WEBSERVER_URL']}/health/ready")
        back_up(folders, log)
        stop(unit, process)
    assert process.returncode in {0, int(unit.one("SuccessExitStatus"))}, log.read_text()


def test_each_part_as_a_service(
    folders: dict[str, Path], addresses: dict[str, str], database: str, dagster_database: str, tmp_path: Path
) -> None:
    settings = addresses | {
        "STRAVA_DATABASE_URL": database,
        "STRAVA_TOKEN_KEYS": generate_key(),
        "STRAVA_OPERATOR_TOKEN": secrets.token_urlsafe(32),
        "STRAVA_WEBHOOK_VERIFY_TOKEN": "verify",
        "STRAVA_WEBHOOK_SIGNING_SECRETS": secrets.token_hex(20),
        "STRAVA_CLIENT_ID": "1",
        "STRAVA_CLIENT_SECRET": secrets.token_hex(20),
    }
    dagsters = {"DAGSTER_POSTGRES_URL": dagster_database}
    variables = {
        "code": settings | dagsters,
        "webserver": settings | dagsters,
        "daemon": addresses | dagsters,
        "bridge": settings,
    }
    (folders[CONFIGURATION] / "workspace.yaml").write_bytes((UNITS / "workspace.yaml").read_bytes())
    units = {part: Unit(UNITS / f"strava-pipeline-{part}.service") for part in variables}
    running: dict[str, subprocess.Popen[bytes]] = {}

    def are_ready() -> bool:
        """Whether bridge and webserver answer; a part that has ended fails the test at once."""
        for part, process in running.items():
            assert process.poll() is None, (tmp_path / part).read_text()
        bridge = f"http://127.0.0.1:{addresses['STRAVA_BRIDGE_PORT']}"
        return all(answers(f"{base}/health/ready") for base in (bridge, addresses["DAGSTER_WEBSERVER_URL"]))

    with ExitStack() as stack:
        for part, unit in units.items():
            running[part] = start(unit, folders, variables[part], tmp_path / part, is_root=True)
            stack.enter_context(ended(running[part]))
        eventually(are_ready, "a bridge and a webserver that are ready")
        for part in ("bridge", "daemon", "webserver", "code"):
            stop(units[part], running[part])
            # Of 0 and more: it ended by itself, and not by the signal.
            assert running[part].returncode >= 0, (part, (tmp_path / part).read_text())
