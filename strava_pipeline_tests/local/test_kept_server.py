"""What the program behind ``up`` does when the embedded Postgres goes away under it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from strava_pipeline.errors import WarehouseError
from strava_pipeline.local import kept_server
from strava_pipeline.local.kept_server import FAILED, MOVED, KeptServer, ServerMoved

ENDING = (
    "import sys; print('no luck', file=sys.stderr); print(sys.argv[1], file=open({noted!r}, 'a')); sys.exit({code})"
)

pytestmark = pytest.mark.processes


@pytest.fixture
def gone(tmp_path: Path) -> Iterator[KeptServer]:
    """A server that does not run."""
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    yield KeptServer(tmp_path, tmp_path, tmp_path, lock)
    os.close(lock)


def ends_with(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have each action end so; returns the file where they are noted."""
    noted = tmp_path / "noted"
    monkeypatch.setattr(kept_server, "ACTIONS", (sys.executable, "-c", ENDING.format(noted=str(noted), code=code)))
    return noted


def test_one_that_does_not_start_is_told_and_tried_again_after_a_pause(
    gone: KeptServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted, said = ends_with(FAILED, tmp_path, monkeypatch), list[str]()
    gone.look_after(said.append)
    gone.look_after(said.append)
    assert said == ["no luck; trying again"]
    monkeypatch.setattr(gone, "_next_look", 0.0)
    gone.look_after(said.append)
    assert noted.read_text().split() == ["revive", "revive"]


def test_one_that_listens_elsewhere_by_now_ends_everything(
    gone: KeptServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The services would look for it at its old place for good."""
    ends_with(MOVED, tmp_path, monkeypatch)
    with pytest.raises(ServerMoved, match="no luck"):
        gone.look_after(print)


def test_one_that_does_not_stop_is_told(gone: KeptServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = ends_with(FAILED, tmp_path, monkeypatch)
    with pytest.raises(WarehouseError, match="no luck"):
        gone.release()
    assert noted.read_text().split() == ["release"]


@pytest.mark.parametrize(
    "pid_file", ["", "no number\n", f"{os.getpid()}\n", f"{2**31 - 1}\n"], ids=["empty", "text", "ours", "nobody"]
)
def test_a_number_of_another_process_is_no_server(gone: KeptServer, pid_file: str) -> None:
    (gone.data / "postmaster.pid").write_text(pid_file)
    assert not gone.is_running()
