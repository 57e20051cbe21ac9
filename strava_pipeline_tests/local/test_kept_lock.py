"""The lock of Dagster's storage in the process behind `up`: noticed when it is lost, and taken anew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from strava_pipeline.local import kept_lock
from strava_pipeline.local.kept_lock import KeptLock, StorageTaken
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.storage_lock import take_storage_lock
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.moody_server import MoodyDatabase

# An attempt is a process.
pytestmark = pytest.mark.processes
HOLD = (
    "import signal; from strava_pipeline.settings import load_settings;"
    " from strava_pipeline.warehouse.storage_lock import take_storage_lock;"
    " lock = take_storage_lock(load_settings()); print('taken', flush=True); signal.pause()"
)


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_lock, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def kept(moody: MoodyDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeptLock]:
    """The lock of a storage on a server that may be stopped, kept by a second descriptor of its socket, as by `up`."""
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", moody.address)
    lock = take_storage_lock(load_settings())
    kept = KeptLock(os.dup(lock.descriptor), {"DAGSTER_POSTGRES_URL": moody.address})
    yield kept
    os.close(kept.descriptor)
    lock.close()


def test_a_lock_that_the_server_has_ended_is_taken_anew(kept: KeptLock, moody: MoodyDatabase) -> None:
    said: list[str] = []
    kept.look_after(said.append)
    assert kept.is_held()
    moody.cut_all()
    eventually(lambda: not kept.is_held(), "a lost lock")
    kept.look_after(said.append)
    assert kept.is_held()
    assert not os.get_inheritable(kept.descriptor)
    with pytest.raises(StorageTaken, match="another strava-pipeline up has Dagster's storage"):
        take_storage_lock(load_settings())
    assert said == []


def test_a_server_that_is_away_is_told_once_and_asked_again(kept: KeptLock, moody: MoodyDatabase) -> None:
    said: list[str] = []
    moody.on.stop()
    eventually(lambda: not kept.is_held(), "a lost lock")
    for _ in range(2):
        kept.look_after(said.append)
    (line,) = said
    assert "the database at " in line
    assert line.endswith("; trying again")
    moody.on.start()
    kept.look_after(said.append)
    assert kept.is_held()
    assert said == [line]


def test_one_that_another_has_taken_meanwhile_is_an_error(kept: KeptLock, moody: MoodyDatabase) -> None:
    moody.cut_all()
    eventually(lambda: not kept.is_held(), "a lost lock")
    other = take_storage_lock(load_settings())
    with pytest.raises(StorageTaken, match=f"process {os.getpid()}, since"):
        kept.look_after(print)
    other.close()


def test_a_killed_process_leaves_it_to_the_next_one(moody: MoodyDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", moody.address)
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "taken\n"
        with pytest.raises(StorageTaken, match=f"process {holder.pid}, since"):
            take_storage_lock(load_settings())
        holder.send_signal(signal.SIGKILL)

    def is_free() -> bool:
        try:
            take_storage_lock(load_settings()).close()
        except StorageTaken:
            return False
        return True

    eventually(is_free, "a free lock")
