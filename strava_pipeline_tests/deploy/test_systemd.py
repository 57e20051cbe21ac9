"""The units for systemd: what systemd says of them, and that they fit each other, the commands and the guide."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
import time
from pathlib import Path

import pytest

from strava_pipeline.local.code_server import LOCATION
from strava_pipeline.local.services import (
    BRIDGE_SECRETS,
    CODE_SERVER_SECRETS,
    DAEMON_SECRETS,
    WEBSERVER_SECRETS,
)
from strava_pipeline.settings import Settings, secret_variables, variable_name
from strava_pipeline_tests.systemd_sandbox import OPT, Unit

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
GUIDE = (ROOT / "docs" / "systemd.md").read_text(encoding="utf-8")
SERVICES = sorted(UNITS.glob("*.service"))
BACKUP = UNITS / "strava-pipeline-backup.service"
HARDENING = UNITS / "strava-pipeline-.service.d" / "hardening.conf"
# Of 10; docs/systemd.md tells the score.
WORST_SCORE = 1.7
PARTS = {
    "bridge": BRIDGE_SECRETS,
    "code": CODE_SERVER_SECRETS,
    "daemon": DAEMON_SECRETS,
    "webserver": WEBSERVER_SECRETS,
}


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The folder with the units as systemd sees them where the environment of the tests is the installation."""
    scripts = sysconfig.get_path("scripts")
    for source in UNITS.rglob("*"):
        if source.is_file():
            target = tmp_path / source.relative_to(UNITS)
            target.parent.mkdir(exist_ok=True)
            target.write_text(source.read_text(encoding="utf-8").replace(f"{OPT}/bin", scripts), encoding="utf-8")
    return tmp_path


def analyzed(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ("systemd-analyze", "--no-pager", *arguments)
    # Units of the machine's own are looked for behind ours.
    environment = {"SYSTEMD_UNIT_PATH": f"{installed}:", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_there_are_units_for_both_forms() -> None:
    of_parts = {f"strava-pipeline-{part}" for part in PARTS}
    assert {path.stem for path in SERVICES} == {"strava-pipeline", BACKUP.stem} | of_parts
    wanted = " ".join(Unit(UNITS / "strava-pipeline.target").all("Wants")).split()
    assert sorted(wanted) == [f"strava-pipeline-{part}.service" for part in PARTS]


@pytest.mark.parametrize(
    "unit", [*SERVICES, UNITS / "strava-pipeline.target", BACKUP.with_suffix(".timer")], ids=lambda path: path.name
)
def test_systemd_understands_every_line(installed: Path, unit: Path) -> None:
    told = analyzed(installed, "verify", str(installed / unit.name))
    ours = [line for line in told.stderr.splitlines() if "strava-pipeline" in line]
    assert (ours, told.returncode) == ([], 0), told.stderr


@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.name)
def test_a_service_that_is_taken_over_can_do_little(installed: Path, unit: Path) -> None:
    options = ("security", "--offline=true", f"--threshold={WORST_SCORE * 10:.0f}")
    told = analyzed(installed, *options, str(installed / unit.name))
    assert told.returncode == 0, told.stdout
    assert f"{WORST_SCORE} OK" in told.stdout
    assert f"says {WORST_SCORE} (*OK*" in GUIDE


def test_both_forms_are_closed_alike() -> None:
    ours = Unit(UNITS / "strava-pipeline.service").options
    shared = Unit(HARDENING).options
    assert len(shared) > 20
    assert [option for option in ours if option in shared] == shared


@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.name)
def test_a_service_starts_what_is_installed_and_is_started_again(unit: Path) -> None:
    read = Unit(unit)
    program, *_ = read.command
    assert program == f"{OPT}/bin/strava-pipeline"
    assert Path(sysconfig.get_path("scripts"), "strava-pipeline").is_file()
    if unit == BACKUP:
        return  # its timer starts it
    assert read.one("Restart") in {"on-failure", "always"}
    assert read.one("StartLimitIntervalSec") == "0"


def test_a_backup_is_made_each_night_with_all_that_either_form_sets() -> None:
    read, (folder,) = Unit(BACKUP), Unit(BACKUP).all("ReadWritePaths")
    assert read.command[1:] == ["backup", folder]
    assert read.one("Type") == "oneshot"
    files = {path.removeprefix("-/etc/strava-pipeline/") for path in read.all("EnvironmentFile")}
    assert files == {"settings.env", "dagster.env", "secrets.env", "owner"}
    assert Unit(BACKUP.with_suffix(".timer")).one("OnCalendar").startswith("*-*-* ")


def test_a_backup_lets_only_old_backups_go(tmp_path: Path) -> None:
    (folder,) = Unit(BACKUP).all("ReadWritePaths")
    command = Unit(BACKUP).one("ExecStartPost").replace(folder, str(tmp_path)).split()
    month_ago = time.time() - 32 * 86400
    for name, is_old in {"20261001T033000Z": True, "20261130T033000Z": False, "notes": True}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "tables.dump").touch()
        if is_old:
            os.utime(tmp_path / name, (month_ago, month_ago))
    subprocess.run(command, check=True)
    assert {path.name for path in tmp_path.iterdir()} == {"20261130T033000Z", "notes"}


def test_the_code_server_is_the_one_that_up_starts_at_the_place_that_the_workspace_names() -> None:
    command = Unit(UNITS / "strava-pipeline-code.service").one("ExecStart")
    socket = "/run/strava-pipeline/code.socket"
    assert command.endswith(f" strava-pipeline code-server --socket {socket}")
    workspace = (UNITS / "workspace.yaml").read_text(encoding="utf-8")
    assert f"grpc_server: {{socket: {socket}, location_name: {LOCATION}}}" in workspace


@pytest.mark.parametrize(("part", "secrets"), PARTS.items(), ids=PARTS)
def test_each_part_gets_the_secrets_that_it_needs_and_hardly_any_more(part: str, secrets: frozenset[str]) -> None:
    files = {Path(path).name for path in Unit(UNITS / f"strava-pipeline-{part}.service").all("EnvironmentFile")}
    told = {
        name: set(re.findall(r"`((?:STRAVA|DAGSTER)_[A-Z_]+)`", held))
        for name, held in re.findall(r"^\| `([a-z]+\.env)` \| ([^|]+) \|", GUIDE, re.MULTILINE)
    }
    given = set().union(*(told[name] for name in files)) & secret_variables()
    # A replica and a header are for few; both may stand where the bridge's other secrets are.
    assert secrets - {"STRAVA_DATABASE_REPLICA_URL", "STRAVA_DAGSTER_HEADER"} <= given
    assert told["settings.env"].isdisjoint(secret_variables())
    if part == "daemon":
        assert given == secrets


def test_credentials_are_those_that_settings_read_from_files() -> None:
    read = Unit(UNITS / "credentials.conf")
    loaded = {value.partition(":")[0] for value in read.all("LoadCredential")}
    variables = read.environment
    assert {path.removeprefix("%d/") for path in variables.values()} == loaded
    assert {name.removesuffix("_FILE") for name in variables} <= secret_variables()


def test_the_guide_names_every_file_and_no_setting_that_does_not_exist() -> None:
    for path in UNITS.rglob("*"):
        assert path.name in GUIDE or path.name.startswith("strava-pipeline-"), path
    known = {variable_name(name) for name in Settings.model_fields}
    assert set(re.findall(r"\b(?:STRAVA|DAGSTER)_[A-Z_]+\b", GUIDE)) <= known
