"""``init`` and ``migrate``."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, make_url, text

from strava_pipeline.cli import cli
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.keyring import Keyring
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.migrate import HEAD
from webhook_bridge.app import check_settings


def test_init_writes_a_private_file_that_a_bridge_can_run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_HOME", str(tmp_path / "new"))
    shown = CliRunner().invoke(cli, ["init"], catch_exceptions=False)
    assert shown.exit_code == 0
    path = tmp_path / "new" / ".env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    settings = load_settings()
    check_settings(settings)
    assert len(Keyring.parse(settings.required("token_keys")).keys) == 1


def test_init_never_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_HOME", str(tmp_path))
    (tmp_path / ".env").write_text("precious")
    with pytest.raises(ConfigurationError, match="is there already"):
        CliRunner().invoke(cli, ["init"], catch_exceptions=False)
    assert (tmp_path / ".env").read_text() == "precious"


def test_migrate_makes_the_tables_and_dagsters_database(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_DATABASE_URL", empty_database)
    for expected in (f"tables at {HEAD}\n", f"tables at {HEAD}\n"):
        shown = CliRunner().invoke(cli, ["migrate"], catch_exceptions=False)
        assert (shown.exit_code, shown.output) == (0, expected)
    ours = make_url(empty_database)
    beside = ours.set(database=f"{ours.database}_dagster")
    engine = create_engine(beside)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT current_database()")).scalar() == beside.database
    engine.dispose()
    admin = create_engine(ours.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{beside.database}"'))
    admin.dispose()
