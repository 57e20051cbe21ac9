"""The project of somebody who likes the same names as we do: ``integration/host_project``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import dagster as dg
import pytest

PROJECT = Path(__file__).parent / "integration" / "host_project"


def definitions_of_host(monkeypatch: pytest.MonkeyPatch, values: Path) -> Callable[[], dg.Definitions]:
    """Return what makes the definitions that the project has of its own; its values are stored in a folder."""
    monkeypatch.syspath_prepend(PROJECT)
    monkeypatch.setenv("HOST_FOLDER", str(values))
    own: Callable[[], dg.Definitions] = import_module("host.own").own_defs
    return own
