"""Revisions of versions to come, made up: each is the newest while it is needed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strava_pipeline.warehouse import migrate as migration


@contextmanager
def later_revision(folder: Path, number: str, *statements: str) -> Iterator[str]:
    """Make a revision of these statements the newest during the block; yield its number. ``folder`` holds its file."""
    scripts = folder / f"migrations-{number}"
    shutil.copytree(migration._SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / f"{number}_added.py").write_text(
        "from alembic import op\n"
        f"revision, down_revision = '{number}', '{migration.HEAD}'\n"
        f"def upgrade():\n    for statement in {statements!r}:\n        op.execute(statement)\n",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migration, "_SCRIPTS", scripts)
        patch.setattr(migration, "REVISIONS", (*migration.REVISIONS, number))
        patch.setattr(migration, "HEAD", number)
        yield number
