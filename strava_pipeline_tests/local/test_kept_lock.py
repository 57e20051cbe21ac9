"""The lock of Dagster's storage in the process behind `up`: noticed when it is lost, and taken anew."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from strava_pipeline.local import kept_lock
from strava_pipeline.local.kept_lock import KeptLock, StorageTaken
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.storage_lock import StorageLock, take_storage_lock
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


@contextmanager
def another_process() -> Iterator[subprocess.Popen[str]]:
    """A process that has the lock until it is killed."""
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "taken\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_one_that_another_has_taken_meanwhile_is_an_error(kept: KeptLock, moody: MoodyDatabase) -> None:
    moody.cut_all()
    eventually(lambda: not kept.is_held(), "a lost lock")
    with another_process() as other, pytest.raises(StorageTaken, match=f"process {other.pid}, since"):
        kept.look_after(print)


@pytest.fixture
def lost(moody: MoodyDatabase, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[KeptLock, StorageLock]]:
    """A lock whose connection has ended for this process, but not yet for the server, as after a broken network."""
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", moody.address)
    at_the_server = take_storage_lock(load_settings())
    ours, theirs = socket.socketpair()
    theirs.close()
    kept = KeptLock(ours.detach(), {"DAGSTER_POSTGRES_URL": moody.address})
    yield kept, at_the_server
    os.close(kept.descriptor)
    if not at_the_server.connection.closed:
        at_the_server.close()


def test_a_lock_that_the_server_keeps_for_the_lost_connection_is_waited_for(
    lost: tuple[KeptLock, StorageLock],
) -> None:
    kept, at_the_server = lost
    said: list[str] = []
    assert not kept.is_held()
    kept.look_after(said.append)
    assert not kept.is_held()
    (line,) = said
    assert "keeps the lock of Dagster's storage" in line
    assert f"process {os.getpid()}" in line
    assert line.endswith("; trying again")
    at_the_server.close()

    def is_taken() -> bool:
        kept.look_after(said.append)
        return kept.is_held()

    eventually(is_taken, "the lock once the server has noticed")
    assert said == [line]


def test_a_server_that_never_answers_does_not_hold_up_the_rest(
    lost: tuple[KeptLock, StorageLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, _ = lost
    monkeypatch.setattr(kept_lock, "ATTEMPT", (sys.executable, "-c", "import signal; signal.pause()"))
    monkeypatch.setattr(kept_lock, "ATTEMPT_SECONDS", 0.1)
    said: list[str] = []
    kept.look_after(said.append)
    assert said == ["the server of Dagster's storage gave no answer within 0 s; trying again"]


def test_a_killed_process_leaves_it_to_the_next_one(moody: MoodyDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", moody.address)
    with another_process() as holder:
        with pytest.raises(StorageTaken, match=f"process {holder.pid}, since"):
            take_storage_lock(load_settings())
        holder.kill()

    def is_free() -> bool:
        try:
            take_storage_lock(load_settings()).close()
        except StorageTaken:
            return False
        return True

    eventually(is_free, "a free lock")
