"""``doctor`` shows every setting with its source, no secret, and what is wrong."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, make_url

from strava_pipeline.cli import cli
from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.settings import Settings, variable_name
from strava_pipeline.warehouse.access.made_logins import create_login
from strava_pipeline.warehouse.access.rights import grant
from strava_pipeline.warehouse.upkeep.due import add_missing
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.ports import free_port


def examine(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], str]:
    """The lines it prints, and the reason it ends with; Strava is away."""
    monkeypatch.setenv("STRAVA_OAUTH_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "postgresql://127.0.0.1:1/none")
    done = CliRunner().invoke(cli, ["doctor"])
    return done.output.splitlines(), str(done.exception)


def test_every_setting_is_shown_with_its_source_and_no_secret(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, _ = examine(monkeypatch)
    shown = {line.split()[0]: line.split()[1:] for line in lines[: len(Settings.model_fields)]}
    assert set(shown) == {variable_name(field) for field in Settings.model_fields}
    assert shown["STRAVA_CLIENT_ID"] == ["4711", "environment"]
    assert shown["STRAVA_QUOTA_LONG_LIMIT"] == ["1000", "default"]
    assert shown["STRAVA_CLIENT_SECRET"] == ["********", "environment"]
    for secret in ("client-secret", "verify-token", "signing-secret", settings.required("token_keys")):
        assert secret not in "\n".join(lines)


@pytest.mark.usefixtures("settings")
def test_each_fault_has_its_line_and_the_end_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRAVA_CLIENT_SECRET")
    lines, reason = examine(monkeypatch)
    failed = [line.split("  ")[1].strip() for line in lines if line.startswith("FAIL")]
    assert failed == ["Strava app", "Dagster", "Strava"]
    assert sum(line.startswith("ok") for line in lines) == 10
    assert reason == "3 of 13 checks failed: see above"


@pytest.mark.usefixtures("settings")
def test_whatever_is_missing_of_the_app_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRAVA_CLIENT_ID")
    monkeypatch.delenv("STRAVA_CLIENT_SECRET")
    lines, _ = examine(monkeypatch)
    (told,) = [line for line in lines if line.startswith("FAIL  Strava app")]
    assert "STRAVA_CLIENT_ID and STRAVA_CLIENT_SECRET are not set" in told


@pytest.mark.usefixtures("settings")
def test_tokens_that_can_be_read_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, _ = examine(monkeypatch)
    assert "ok    stored tokens    0 connected athletes, the tokens of each can be decrypted" in lines


@pytest.mark.usefixtures("settings")
def test_more_athletes_than_upkeep_can_serve_are_told_of(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    connect_riders(engine, *range(1, 31), state="active")
    with engine.begin() as connection:
        add_missing(connection)
    lines, _ = examine(monkeypatch)
    place = next(number for number, line in enumerate(lines) if line.startswith("warn  upkeep"))
    assert "30 athletes need 210 requests a day" in lines[place]
    assert "they need 1.4 times that" in lines[place]
    assert "STRAVA_UPKEEP_SHARE" in lines[place + 1]


@pytest.mark.usefixtures("settings")
def test_unusable_keys_are_found_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_TOKEN_KEYS", "k1:c2hvcnQ=")
    lines, _ = examine(monkeypatch)
    told = [line for line in lines if line.startswith("FAIL") and "token" in line]
    assert len(told) == 2
    assert all("key k1 has 5 bytes" in line and "c2hvcnQ" not in line for line in told)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "ok    mail             off: STRAVA_SMTP_URL is not set"),
        (
            {"STRAVA_SMTP_URL": "smtps://u:canary@mail.example.org"},
            "FAIL  mail             STRAVA_MAIL_FROM is not set",
        ),
        ({"STRAVA_SMTP_URL": "smtp://u:canary@mail.example.org"}, "FAIL  mail             STRAVA_SMTP_URL: plain smtp"),
        (
            {
                "STRAVA_SMTP_URL": "smtps://u:canary@mail.example.org",
                "STRAVA_MAIL_FROM": "Rides <rides@example.org>",
                "STRAVA_BRIDGE_PUBLIC_URL": "https://bridge.example.org",
            },
            "ok    mail             ride summaries by smtps://mail.example.org:465, from rides@example.org",
        ),
    ],
)
def test_the_way_to_the_mail_server_is_checked(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], told: str
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    lines, _ = examine(monkeypatch)
    assert [line for line in lines if line.startswith(told)]
    assert "canary" not in "\n".join(lines)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "ok    proxies          0 in front of the bridge are trusted"),
        ({"STRAVA_BRIDGE_PUBLIC_URL": "http://localhost:8080"}, "ok    proxies          0 in front"),
        (
            {"STRAVA_BRIDGE_PUBLIC_URL": "https://rides.example.org"},
            "warn  proxies          STRAVA_TRUSTED_PROXIES is not",
        ),
        (
            {"STRAVA_BRIDGE_PUBLIC_URL": "https://rides.example.org", "STRAVA_TRUSTED_PROXIES": "1"},
            "ok    proxies          1 in front",
        ),
        # Something that hands on connections as they are is told by an explicit 0.
        (
            {"STRAVA_BRIDGE_PUBLIC_URL": "https://rides.example.org", "STRAVA_TRUSTED_PROXIES": "0"},
            "ok    proxies          0 in front",
        ),
    ],
)
def test_a_public_bridge_whose_proxy_is_not_trusted_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], told: str
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    lines, reason = examine(monkeypatch)
    assert [line for line in lines if line.startswith(told)]
    # Dagster's database and Strava, which are away: a warning is no fault.
    assert reason.startswith("2 of 13 checks failed")


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("STRAVA_OPERATOR_TOKEN", "a-token-of-the-operator", "ok    operator         a login is asked for"),
        ("STRAVA_OPERATOR_TOKEN", "", "warn  operator         STRAVA_OPERATOR_TOKEN is not set"),
        ("STRAVA_OPERATOR_TOKEN", "0101" * 8, "warn  operator         STRAVA_OPERATOR_TOKEN has fewer than 8"),
        ("STRAVA_DANGEROUSLY_OPEN_WITHOUT_LOGIN", "1", "warn  operator         STRAVA_DANGEROUSLY_OPEN_WITHOUT_LOGIN"),
    ],
)
def test_a_door_that_is_open_or_cannot_be_opened_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    lines, _ = examine(monkeypatch)
    assert [line for line in lines if line.startswith(told)]


def test_a_database_login_that_may_too_much_is_a_warning(
    settings: Settings, server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, _ = examine(monkeypatch)
    assert [
        line for line in lines if line.startswith("ok    logins           strava_pipeline for the pipeline, strava_sql")
    ]
    monkeypatch.setenv("STRAVA_DATABASE_URL", server.set_up_url(database_name))
    lines, _ = examine(monkeypatch)
    (told,) = [line for line in lines if line.startswith("warn  logins")]
    assert "postgres has more rights than the pipeline needs (SUPERUSER, CREATEROLE" in told
    assert "STRAVA_DATABASE_OWNER_URL" in told


def test_connections_that_analysts_may_take_are_a_warning(
    settings: Settings, admin_engine: Engine, server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with admin_engine.begin() as connection:
        create_login(connection, "unreserved", "the-secret-of-it")
        grant(connection, "unreserved", Login.PIPELINE)
    url = make_url(server.url(database_name, Login.SQL)).set(username="unreserved", password="the-secret-of-it")
    monkeypatch.setenv("STRAVA_DATABASE_URL", url.render_as_string(hide_password=False))
    lines, _ = examine(monkeypatch)
    (told,) = [line for line in lines if line.startswith("warn  logins")]
    grant_of_it = "GRANT pg_use_reserved_connections TO unreserved"
    assert told.endswith(f"analysts may take every connection: run {grant_of_it} as an administrator")
    with admin_engine.begin() as connection:
        connection.exec_driver_sql(grant_of_it)
    lines, _ = examine(monkeypatch)
    assert [line for line in lines if line.startswith("ok    logins")]
    with admin_engine.begin() as connection:
        connection.exec_driver_sql("DROP OWNED BY unreserved; DROP ROLE unreserved")


@pytest.mark.usefixtures("settings")
def test_a_database_in_which_dagster_may_make_no_tables_is_a_fault(
    server: Server, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = make_url(server.url(str(make_url(empty_database).database), Login.PIPELINE))
    examine(monkeypatch)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", theirs.render_as_string(hide_password=False))
    done = CliRunner().invoke(cli, ["doctor"])
    (told,) = [line for line in done.output.splitlines() if line.startswith("FAIL  Dagster")]
    assert "may not make its tables" in told
    assert (
        f'in that database, run GRANT CONNECT, TEMPORARY ON DATABASE "{theirs.database}" TO "strava_pipeline"' in told
    )
