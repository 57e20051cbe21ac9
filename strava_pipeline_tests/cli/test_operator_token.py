"""Where no operator's token is set one is made, once; and a link logs in without it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from strava_pipeline.cli import cli
from strava_pipeline.cli.demo_system import write_settings
from strava_pipeline.cli.operator_token import ensure_operator_token
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import settings_file
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline_tests.conftest import OPERATOR_TOKEN
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.webhook_bridge.browser import Browser, words_of
from webhook_bridge.app import create_app

ENSURE = "from strava_pipeline.cli.operator_token import ensure_operator_token; print(ensure_operator_token())"
AT_ONCE = 6


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "new" / "home"
    monkeypatch.setenv("STRAVA_HOME", str(home))
    return home


def token() -> str:
    return load_settings().required("operator_token")


def test_init_and_demo_write_one_of_256_bits(home: Path) -> None:
    CliRunner().invoke(cli, ["init"], catch_exceptions=False)
    first = token()
    assert len(first) == 43
    settings_file(home).unlink()
    write_settings(home, 1)
    assert len(token()) == 43
    assert token() != first


def test_what_is_missing_is_added_to_the_settings_file(home: Path) -> None:
    home.mkdir(parents=True)
    settings_file(home).write_text("# mine\nSTRAVA_CLIENT_ID=4711\nSTRAVA_OPERATOR_TOKEN=", encoding="utf-8")
    settings_file(home).chmod(0o644)
    assert ensure_operator_token()
    first = token()
    assert len(first) == 43
    assert settings_file(home).read_text(encoding="utf-8").startswith("# mine\nSTRAVA_CLIENT_ID=4711\n")
    assert stat.S_IMODE(settings_file(home).stat().st_mode) == 0o600
    assert not ensure_operator_token()
    assert token() == first
    assert [path.name for path in home.iterdir()] == [".env"]


def test_where_there_is_no_file_one_is_made(home: Path) -> None:
    assert ensure_operator_token()
    assert stat.S_IMODE(settings_file(home).stat().st_mode) == 0o600
    assert len(token()) == 43


def test_a_file_that_is_a_link_stays_one(home: Path, tmp_path: Path) -> None:
    home.mkdir(parents=True)
    elsewhere = tmp_path / "settings"
    elsewhere.write_text("STRAVA_CLIENT_ID=4711\n", encoding="utf-8")
    settings_file(home).symlink_to(elsewhere)
    assert ensure_operator_token()
    assert settings_file(home).is_symlink()
    assert "STRAVA_OPERATOR_TOKEN=" in elsewhere.read_text(encoding="utf-8")


@pytest.mark.parametrize("where", ["environment", "secret file", "settings file"])
def test_one_that_is_set_anywhere_is_left_alone(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    home.mkdir(parents=True)
    if where == "environment":
        monkeypatch.setenv("STRAVA_OPERATOR_TOKEN", OPERATOR_TOKEN)
    elif where == "secret file":
        (tmp_path / "secret").write_text(OPERATOR_TOKEN)
        monkeypatch.setenv("STRAVA_OPERATOR_TOKEN_FILE", str(tmp_path / "secret"))
    else:
        settings_file(home).write_text(f"STRAVA_OPERATOR_TOKEN={OPERATOR_TOKEN}\n", encoding="utf-8")
    before = settings_file(home).read_bytes() if settings_file(home).exists() else None
    assert not ensure_operator_token()
    assert token() == OPERATOR_TOKEN
    assert (settings_file(home).read_bytes() if settings_file(home).exists() else None) == before


def test_of_several_at_once_one_makes_it(home: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", ENSURE], stdout=subprocess.PIPE, text=True, env=os.environ)
        for _ in range(AT_ONCE)
    ]
    told = [process.communicate(timeout=PATIENCE_SECONDS)[0].strip() for process in processes]
    assert sorted(told) == ["False"] * (AT_ONCE - 1) + ["True"]
    assert settings_file(home).read_text(encoding="utf-8").count("STRAVA_OPERATOR_TOKEN=") == 1


def test_whoever_dies_in_between_leaves_the_old_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir(parents=True)
    settings_file(home).write_text("STRAVA_CLIENT_ID=4711\n", encoding="utf-8")

    def die(_: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", die)
        with pytest.raises(KeyboardInterrupt):
            ensure_operator_token()
    assert [path.name for path in home.iterdir()] == [".env"]
    assert settings_file(home).read_text(encoding="utf-8") == "STRAVA_CLIENT_ID=4711\n"
    assert ensure_operator_token()


def test_where_it_cannot_be_kept_the_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STRAVA_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("strava_pipeline.settings_sources.settings_file", lambda home: tmp_path / "nothing")
    with pytest.raises(ConfigurationError, match="STRAVA_OPERATOR_TOKEN is not set, and one cannot be added to"):
        ensure_operator_token()


def test_a_link_that_is_printed_logs_in(settings: Settings, engine: Engine) -> None:
    shown = CliRunner().invoke(cli, ["login-link"], catch_exceptions=False)
    assert shown.exit_code == 0
    link = urlsplit(shown.output.strip())
    assert f"{link.scheme}://{link.netloc}" == "http://127.0.0.1:8080"
    browser = Browser(create_app(settings, engine))
    assert "logs you in as the operator, once" in words_of(browser.get(link.path))
    assert browser.press(link.path).status_code == 303
    assert browser.get("/").status_code == 200


@pytest.mark.usefixtures("settings", "engine")
def test_a_link_to_the_public_address_is_printed_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", "https://rides.example.org")
    shown = CliRunner().invoke(cli, ["login-link", "--public"], catch_exceptions=False)
    assert shown.output.startswith("https://rides.example.org/login/once/")


@pytest.mark.usefixtures("settings", "engine")
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("STRAVA_OPERATOR_TOKEN", "", "STRAVA_OPERATOR_TOKEN is not set"),
        ("STRAVA_DANGEROUSLY_OPEN_WITHOUT_LOGIN", "true", "nothing to log in to"),
    ],
)
def test_where_no_link_helps_the_command_says_so(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    done = CliRunner().invoke(cli, ["login-link"])
    assert told in str(done.exception)
