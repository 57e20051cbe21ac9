"""What tells that a process runs in a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from strava_pipeline import container
from strava_pipeline.container import in_container


@pytest.fixture(autouse=True)
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that an engine makes; the machine's own ones do not count."""
    mark = tmp_path / ".containerenv"
    monkeypatch.setattr(container, "MARKS", (tmp_path / ".dockerenv", mark))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return mark


def test_a_machine_is_no_container() -> None:
    assert not in_container()


def test_an_engine_leaves_its_mark(mark: Path) -> None:
    mark.touch()
    assert in_container()


def test_a_cluster_tells_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    assert in_container()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "")
    assert not in_container()
