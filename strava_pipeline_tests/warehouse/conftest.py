from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from strava_pipeline.warehouse import migrate as migration
from strava_pipeline_tests.warehouse.quota.ledgers import Clock


@pytest.fixture
def clock(engine: Engine) -> Clock:
    """The database's clock, standing at 12:05, known to be Strava's as well."""
    clock = Clock(engine)
    clock.agree()
    return clock


@pytest.fixture
def add_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Makes a revision of these statements the newest, until the test ends; returns its name."""

    def add(*statements: str) -> str:
        scripts = tmp_path / "migrations"
        shutil.copytree(migration._SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
        (scripts / "versions" / "9999_added.py").write_text(
            "from alembic import op\n"
            f"revision, down_revision = '9999', '{migration.HEAD}'\n"
            f"def upgrade():\n    for statement in {statements!r}:\n        op.execute(statement)\n",
            encoding="utf-8",
        )
        monkeypatch.setattr(migration, "_SCRIPTS", scripts)
        monkeypatch.setattr(migration, "REVISIONS", (*migration.REVISIONS, "9999"))
        monkeypatch.setattr(migration, "HEAD", "9999")
        return "9999"

    return add
