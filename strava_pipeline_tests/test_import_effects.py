"""Whoever imports us, or makes our definitions among theirs, has the same process afterwards as before."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import strava_pipeline
import webhook_bridge

PATIENCE_SECONDS = 300
# Programs, not modules: python -m runs the first, alembic the others.
PROGRAMS = ("strava_pipeline.__main__", "strava_pipeline.warehouse.migrations")
# If one of these were read, it would be refused.
UNUSABLE = {
    "STRAVA_HOME": "/dev/null/home",
    "STRAVA_HISTORY_START": "never",
    "STRAVA_BRIDGE_PORT": "none",
    "STRAVA_LOG_LEVEL": "LOUD",
    "STRAVA_TOKEN_KEYS_FILE": "/dev/null/keys",
}
IMPORT = "import importlib\nfor name in ours: importlib.import_module(name)\n"
MAKE = (
    "from strava_pipeline.defs.code_location import build_strava_defs\n"
    "from strava_pipeline.definitions import defs\n"
    "for made in (build_strava_defs(), defs()): made.get_repository_def()\n"
)
# All that we need of others is there before: what they change is theirs.
ALREADY_THERE = "for name in others:\n    try: importlib.import_module(name)\n    except ImportError: pass\n"


def our_modules() -> list[str]:
    found = [
        module.name
        for package in (strava_pipeline, webhook_bridge)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    return [name for name in found if not name.startswith(PROGRAMS)]


def run(program: str, **variables: str) -> str:
    """What a fresh interpreter prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STRAVA_", "DAGSTER_"))}
    code = f"import importlib, json, sys\nours = {our_modules()!r}\n{program}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Modules of others that ours need, also when definitions are made."""
    told = run(f"{IMPORT}{MAKE}print(json.dumps([*sys.modules]))", STRAVA_HOME=str(tmp_path_factory.mktemp("home")))
    return [name for name in json.loads(told) if not name.startswith(("strava_pipeline", "webhook_bridge", "__"))]


def changed_by(act: str, others: list[str], **variables: str) -> dict[str, Any]:
    """What of the process is another after ``act`` than before, and what became of it."""
    program = (
        f"others = {others!r}\n{ALREADY_THERE}"
        "from strava_pipeline_tests.process_state import differences, state\n"
        "state(); before = state()\n"
        f"{act}"
        "print(json.dumps(differences(before, state())))\n"
    )
    changed: dict[str, Any] = json.loads(run(program, **variables))
    return changed


def test_importing_every_module_of_ours_changes_nothing_and_reads_no_setting(others: list[str]) -> None:
    assert len(our_modules()) > 200
    assert changed_by(IMPORT, others, **UNUSABLE) == {}


def test_making_our_definitions_changes_nothing(others: list[str], tmp_path: Path) -> None:
    assert changed_by(MAKE, others, STRAVA_HOME=str(tmp_path)) == {}


def test_a_module_that_changes_something_would_be_found(others: list[str], tmp_path: Path) -> None:
    acts = {
        "record factory": "from strava_pipeline import redaction; redaction.install()",
        "retry hooks": "from strava_pipeline import own_process; own_process.set_up()",
        "warnings": "import warnings; warnings.simplefilter('ignore')",
        "garbage collector": "import gc; gc.freeze()",
        "loggers": "import logging; logging.getLogger('theirs').setLevel('DEBUG')",
        "environment": "import os; os.environ['THEIRS'] = 'ours'",
        "signals": "import signal; signal.signal(signal.SIGTERM, lambda *_: None)",
        "threads": "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
        "functions of others": "import requests; requests.get = print",
    }
    changed = changed_by("".join(f"{act}\n" for act in acts.values()), others, STRAVA_HOME=str(tmp_path))
    assert set(acts) <= set(changed)
