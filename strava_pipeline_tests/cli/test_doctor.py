"""``doctor`` shows every setting with its source, no secret, and what is wrong; it creates and changes nothing."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, inspect, text

from strava_pipeline.cli import cli
from strava_pipeline.cli.doctor import DoctorFoundFaults, all_checks, report
from strava_pipeline.cli.doctor.examination import Examined
from strava_pipeline.cli.doctor.findings import LIMIT_SECONDS, Check, Verdict, fail, ok, warn
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings, variable_name
from strava_pipeline.settings_page import SUBJECTS
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.sync.access import open_tokens
from strava_pipeline.warehouse.addresses import parse_url
from strava_pipeline_tests.conftest import SECRETS, SETTINGS, opened
from strava_pipeline_tests.doctor_checks import PATIENCE_SECONDS
from strava_pipeline_tests.inbox import store
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.strava.loopback import UNAUTHORIZED, Asked, Loopback, Reply, reply
from strava_pipeline_tests.strava_stand_in import RIDER

MEANING = "      "


@pytest.fixture(autouse=True)
def strava(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A Strava with a subscription; a machine under load makes no check late."""
    patient = tuple(replace(check, limit_s=PATIENCE_SECONDS) for check in all_checks.CHECKS)
    monkeypatch.setattr(all_checks, "CHECKS", patient)
    with Loopback() as loopback:
        loopback.answer = _answer
        monkeypatch.setenv("STRAVA_API_URL", f"{loopback.url}/api/v3")
        monkeypatch.setenv("STRAVA_OAUTH_URL", f"{loopback.url}/oauth")
        monkeypatch.setenv("STRAVA_BRIDGE_PORT", str(free_port()))
        yield loopback


def _answer(asked: Asked) -> Reply:
    if asked.path.endswith("/push_subscriptions"):
        return reply([{"id": 9, "callback_url": "https://rides.example.org/webhooks/strava"}])
    return UNAUTHORIZED if asked.path.startswith("/api") else Reply(302)


def examine(*options: str) -> Result:
    return CliRunner().invoke(cli, ["doctor", *options])


def test_every_setting_is_shown_by_subject_with_its_source_and_meaning_and_no_secret(settings: Settings) -> None:
    lines = examine().stdout.splitlines()
    shown = {
        line.split()[0]: (line, lines[number + 1]) for number, line in enumerate(lines) if line.startswith("  STR")
    }
    assert set(SUBJECTS) <= set(lines)
    assert set(shown) >= {variable_name(field) for field in Settings.model_fields} - {
        "DAGSTER_HOME",
        "DAGSTER_POSTGRES_URL",
        "DAGSTER_WEBSERVER_URL",
    }
    assert shown["STRAVA_CLIENT_ID"] == (
        "  STRAVA_CLIENT_ID  4711  (environment)",
        f"{MEANING}the Strava app's id",
    )
    assert shown["STRAVA_QUOTA_LONG_LIMIT"][0] == "  STRAVA_QUOTA_LONG_LIMIT  1000  (default)"
    assert shown["STRAVA_CLIENT_SECRET"][0] == "  STRAVA_CLIENT_SECRET  ********  (environment)"
    assert shown["STRAVA_LAKE_URL"][0] == "  STRAVA_LAKE_URL  -  (default)"
    for secret in ("client-secret", "verify-token", "signing-secret", settings.required("token_keys")):
        assert secret not in "\n".join(lines)


@pytest.mark.usefixtures("settings")
def test_each_fault_has_its_line_and_the_end_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRAVA_CLIENT_SECRET")
    done = examine()
    failed = [line for line in done.stdout.splitlines() if line.startswith("fail")]
    assert {line[6:24].strip() for line in failed} >= {"Strava app", "webserver", "subscription"}
    assert isinstance(done.exception, DoctorFoundFaults)
    assert str(done.exception) == f"{len(failed)} of {len(all_checks.CHECKS)} checks failed: see above"
    assert done.exit_code == 1


def test_json_is_one_object_with_masked_settings_and_each_finding(settings: Settings) -> None:
    done = examine("--json")
    told = json.loads(done.stdout)
    assert {setting["name"] for setting in told["settings"]} == {
        variable_name(field) for field in Settings.model_fields
    }
    secret = next(setting for setting in told["settings"] if setting["name"] == "STRAVA_CLIENT_SECRET")
    assert (secret["value"], secret["source"]) == ("********", "environment")
    assert {check["name"] for check in told["checks"]} == {check.name for check in all_checks.CHECKS}
    assert all(set(check) == {"name", "verdict", "message", "what_to_do"} for check in told["checks"])
    assert {check["verdict"] for check in told["checks"]} == {"ok", "warn", "fail"}
    assert not any(each in done.stdout for each in SECRETS)
    assert done.exit_code == 1


def test_warnings_are_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(all_checks, "CHECKS", (Check("odd", lambda _: iter([warn("odd", "look at it")])),))
    assert examine().exit_code == 0
    told = json.loads(examine("--json").stdout)
    assert told["checks"] == [{"name": "odd", "verdict": "warn", "message": "odd", "what_to_do": "look at it"}]


def listing(folder: Path) -> list[tuple[str, int, int, int]]:
    """Everything below a folder, with mode, size and time of change."""
    found = [(path, path.lstat()) for path in (folder, *folder.rglob("*"))]
    return sorted((str(path), status.st_mode, status.st_size, status.st_mtime_ns) for path, status in found)


@pytest.mark.parametrize("is_there", [False, True])
def test_an_empty_folder_stays_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool) -> None:
    home = tmp_path / "home"
    if is_there:
        home.mkdir()
    before = listing(tmp_path)
    monkeypatch.chdir(tmp_path)
    done = examine()
    assert "warn  database            the embedded Postgres is not there yet" in done.stdout
    assert listing(tmp_path) == before


def test_a_database_without_tables_stays_without(settings: Settings, empty_database: str, tmp_path: Path) -> None:
    os.environ["STRAVA_DATABASE_URL"] = empty_database
    done = examine()
    assert "warn  tables              there are no tables yet" in done.stdout
    # The tables' schema has the clock.
    for name in ("database clock", "stored tokens"):
        assert f"warn  {name:18}  not checked: see tables above" in done.stdout
    with opened(parse_url(empty_database, "it")) as engine, engine.connect() as connection:
        assert (
            connection.execute(text("SELECT count(*) FROM pg_namespace WHERE nspname IN ('ops', 'strava')")).scalar()
            == 0
        )
        assert inspect(connection).get_table_names() == []


def content(engine: Engine) -> dict[str, Any]:
    """A digest of each table's rows, and each sequence's value."""
    found: dict[str, Any] = {}
    with engine.connect() as connection:
        for schema in ("ops", "strava"):
            for table in inspect(connection).get_table_names(schema=schema):
                every_row = text(
                    f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {schema}.{table} AS t"  # noqa: S608  names of tables
                )
                found[f"{schema}.{table}"] = tuple(connection.execute(every_row).one())
        for name, value in connection.execute(text("SELECT sequencename, last_value FROM pg_sequences")):
            found[f"sequence {name}"] = value
    return found


def test_a_running_installation_has_the_same_files_tables_and_rows_before_and_after(
    settings: Settings, engine: Engine, owner_engine: Engine, strava: Loopback
) -> None:
    grant = TokenGrant(Secret("canary-access"), Secret("canary-refresh"), None, {"id": RIDER})
    open_tokens(settings, engine).connect(grant, ["read", "activity:read_all"])
    store(engine, 1, 2)
    printed = settings.home / "dagster" / "storage" / "a-run" / "compute_logs" / "step.out"
    printed.parent.mkdir(parents=True)
    printed.write_text("what an earlier version's step printed")
    (settings.home / "dagster" / "dagster.yaml").write_text("# of an earlier version\n")
    (settings.home / ".env").write_text("STRAVA_LOG_LEVEL=DEBUG\n")
    files, rows = listing(settings.home), content(owner_engine)
    assert rows["ops.webhook_events"][0] == 2
    done = examine()
    assert "ok    stored tokens       1 connected athletes" in done.stdout
    assert any(asked.path.endswith("/push_subscriptions") for asked in strava.asked)
    assert {asked.method for asked in strava.asked} == {"GET"}
    assert listing(settings.home) == files
    assert content(owner_engine) == rows


@pytest.mark.parametrize("columns", [40, 80, 100, 200])
def test_lines_fit_a_terminal_and_are_whole_elsewhere(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    examined = Examined(
        Check("a check", lambda _: iter(())),
        [ok("all is well"), fail("it is not well at all, " * 12 + "\x1b[2J", "look at it, and then do this; " * 9)],
    )
    report.print_examined(examined)
    plain = capsys.readouterr().out.splitlines()
    assert len(plain) == 3
    assert plain[0] == "ok    a check             all is well"
    assert "\x1b" not in plain[1]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    report.print_examined(examined)
    shown = click.unstyle(capsys.readouterr().out).splitlines()
    width = max(report.NARROWEST, min(report.WIDEST, columns))
    assert len(shown) > 6
    assert max(map(len, shown)) <= width
    assert sum(Verdict.FAIL in line[:4] for line in shown) == 1
    assert {line[:26] for line in shown[3:]} == {" " * 26}


def test_hosts_that_never_answer_hold_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes as long as a check may, since that is what is looked at."""
    monkeypatch.undo()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        for name, value in SETTINGS.items():
            monkeypatch.setenv(name, value)
        for name in ("STRAVA_API_URL", "STRAVA_OAUTH_URL", "DAGSTER_WEBSERVER_URL", "STRAVA_BRIDGE_PUBLIC_URL"):
            monkeypatch.setenv(name, f"http://{address}")
        monkeypatch.setenv("STRAVA_DATABASE_URL", f"postgresql://rider@{address}/strava")
        monkeypatch.setenv("STRAVA_SMTP_URL", f"smtp://{address}")
        began = time.monotonic()
        done = examine()
        lasted = time.monotonic() - began
    failed = {line[6:24].strip() for line in done.stdout.splitlines() if line.startswith("fail")}
    assert failed >= {"OAuth", "API", "database", "Dagster's database", "webserver", "mail server"}
    # One after the other they would take more than half a minute.
    assert lasted < 5 * LIMIT_SECONDS
