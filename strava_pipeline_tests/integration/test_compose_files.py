"""What ``deploy/compose.yaml`` mounts, given to the programs that read it; no container is started."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest

from strava_pipeline.keyring import Keyring
from strava_pipeline.settings import load_settings
from strava_pipeline_tests.composed_parts import (
    NewPostgres,
    environment_of,
    make_secrets,
    running_postgres,
)
from strava_pipeline_tests.deploy.compose import FILLED_IN, FOLDER, composed, filled_in, services
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.monitoring_program import promtool
from strava_pipeline_tests.proxies import program
from strava_pipeline_tests.warm_processes import WarmProcesses
from webhook_bridge.app import check_settings

OF_PEOPLE = {
    "strava_client_secret", "strava_webhook_signing_secrets", "strava_smtp_url", "strava_alert_urls",
    "strava_heartbeat_url",
}  # fmt: skip


def contents(folder: Path) -> dict[str, str]:
    """Each secret by its name."""
    return {path.name: path.read_text(encoding="utf-8") for path in (folder / "secrets").iterdir()}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A folder in which the secrets have been made."""
    make_secrets(tmp_path)
    return tmp_path


def test_each_secret_of_the_file_is_made(secrets: Path) -> None:
    made = contents(secrets)
    assert {*made} == {*composed()["secrets"]}
    assert {name for name, text in made.items() if not text} == OF_PEOPLE
    assert len({*made.values()}) == len(made) - len(OF_PEOPLE) + 1


def test_secrets_are_made_once(secrets: Path) -> None:
    (secrets / "secrets" / "strava_client_secret").write_text("of the app\n", encoding="utf-8")
    (secrets / "secrets" / "strava_operator_token").unlink()
    before = contents(secrets)
    assert make_secrets(secrets).stdout == "made secrets/strava_operator_token\n"
    after = contents(secrets)
    assert len(after.pop("strava_operator_token")) >= 16
    assert after == before


def test_of_two_at_once_each_secret_is_made_by_one(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "make-secrets", tmp_path)
    running = [
        subprocess.Popen([tmp_path / "make-secrets"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    ended = [(*process.communicate(timeout=PATIENCE_SECONDS), process.returncode) for process in running]
    assert [(errors, code) for _, errors, code in ended] == [("", 0)] * len(ended)
    made = [line for output, _, _ in ended for line in output.splitlines() if line.startswith("made")]
    assert sorted(made) == sorted(f"made secrets/{name}" for name in composed()["secrets"])
    assert {*contents(tmp_path)} == {*composed()["secrets"]}


def test_the_folder_is_its_owners_and_containers_read_the_files(secrets: Path) -> None:
    folder = secrets / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}


def test_the_bridge_starts_with_them(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment_of("bridge", secrets).items():
        monkeypatch.setenv(name, value)
    # As .env.example has it.
    monkeypatch.setenv("STRAVA_WEBHOOK_SIGNATURE", "off")
    settings = load_settings()
    check_settings(settings)
    assert settings.smtp_url is None
    assert settings.token_keys is not None
    Keyring.parse(settings.token_keys.get_secret_value())


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("token", encoding="utf-8")
    text = (FOLDER / "compose" / "prometheus.yml").read_text(encoding="utf-8")
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(text.replace("/run/secrets/strava_metrics_token", str(token)), encoding="utf-8")
    shutil.copy(FOLDER / "prometheus" / "alerts.yml", tmp_path)
    promtool("check", "config", str(configuration))


@pytest.mark.parametrize("tls", ["", "tls internal"])
def test_caddy_takes_its_configuration(tmp_path: Path, tls: str) -> None:
    given: Mapping[str, str] = filled_in(services()["proxy"]["environment"], FILLED_IN | {"PROXY_TLS": tls})
    variables = {**given, "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = [program("caddy"), "validate", "--config", str(FOLDER / "proxies" / "Caddyfile"), "--adapter"]
    done = subprocess.run(
        [*command, "caddyfile"], env=variables, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Valid configuration" in done.stdout + done.stderr


def test_the_machine_is_not_made_to_trust_an_authority_that_is_for_a_trial(tmp_path: Path) -> None:
    given = filled_in(services()["proxy"]["environment"], FILLED_IN | {"PROXY_TLS": "tls internal"})
    told = subprocess.check_output(
        [program("caddy"), "adapt", "--config", str(FOLDER / "proxies" / "Caddyfile"), "--adapter", "caddyfile"],
        env={**given, "PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        timeout=PATIENCE_SECONDS,
    )
    authorities = json.loads(told)["apps"]["pki"]["certificate_authorities"]
    assert [authority["install_trust"] for authority in authorities.values()] == [False]


@pytest.fixture
def new_postgres(secrets: Path) -> Iterator[NewPostgres]:
    """A server with compose's options and nothing in it."""
    with running_postgres(secrets) as server:
        yield server


def test_the_database_is_set_up_and_migrated(
    new_postgres: NewPostgres, secrets: Path, tmp_path: Path, warm_processes: WarmProcesses
) -> None:
    new_postgres.run_logins(secrets)
    new_postgres.run_logins(secrets)
    usual = {"PATH": os.environ["PATH"], "STRAVA_HOME": str(tmp_path / "home")}

    def migrate() -> None:
        """It says what an administrator has yet to do: nothing."""
        environment = environment_of("migrate", secrets, new_postgres.here)
        done = warm_processes.run("migrate", env=usual | environment)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()

    migrate()
    migrate()
    rows = warm_processes.run(
        "sql", "SELECT count(*) AS n FROM strava.activities", "--format", "csv",
        env=usual | environment_of("command", secrets, new_postgres.here),
    )  # fmt: skip
    assert (rows.returncode, rows.stderr, rows.stdout.split()) == (0, b"", [b"n", b"0"])
    _check_logins(new_postgres, secrets)
    _change_a_password(new_postgres, secrets)


def _check_logins(server: NewPostgres, secrets: Path) -> None:
    """Each login may do its part."""
    made = contents(secrets)
    at = f"127.0.0.1:{server.port}"
    with psycopg.connect(f"postgresql://grafana:{made['grafana_database_password']}@{at}/strava") as grafana:
        assert grafana.execute("SELECT count(*) FROM strava.activities").fetchone() == (0,)
        limit = grafana.execute("SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user").fetchone()
        assert limit == (5,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            grafana.execute("SELECT FROM ops.users")
    with psycopg.connect(made["dagster_postgres_url"].replace("+psycopg2", ""), autocommit=True) as dagster:
        dagster.execute("CREATE TABLE runs_of_a_test (id int)")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(f"postgresql://grafana:{made['grafana_database_password']}@{at}/postgres")
    with psycopg.connect(made["strava_database_url"]) as pipeline:
        powers = pipeline.execute("SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolcanlogin")
        assert [*powers].count((True,)) == 2  # the superuser, and the owner, who creates analysts


def _change_a_password(server: NewPostgres, secrets: Path) -> None:
    path = secrets / "secrets" / "strava_database_url"
    path.write_text(f"postgresql://strava_pipeline:changed@127.0.0.1:{server.port}/strava\n", encoding="utf-8")
    server.run_logins(secrets)
    with psycopg.connect(path.read_text(encoding="utf-8").strip()) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("strava_pipeline",)
