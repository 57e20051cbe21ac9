"""A worker thread works until it is stopped, rests between its rounds, and tells of its end."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy.exc import SQLAlchemyError

from strava_pipeline_tests.eventually import eventually
from webhook_bridge.worker_thread import WorkerThread, stop_all


class Rounds(WorkerThread):
    """Counts its rounds, between which it would rest for an hour."""

    def __init__(self) -> None:
        super().__init__("rounds")
        self.rounds = 0

    def work(self) -> None:
        while not self.stopping.is_set():
            self.rounds += 1
            self.rest(3600)


class Failing(WorkerThread):
    def __init__(self) -> None:
        super().__init__("failing")

    def work(self) -> None:
        raise ZeroDivisionError("a fault")


def test_it_works_until_it_is_stopped() -> None:
    thread = Rounds()
    assert not thread.is_running
    thread.start()
    assert thread.is_running
    thread.stop()
    assert not thread.is_running
    assert not thread.has_ended


def test_it_is_woken_from_its_rest_even_before_the_rest_began() -> None:
    thread = Rounds()
    thread.wake()
    thread.start()
    eventually(lambda: thread.rounds == 2, "a second round")
    thread.wake()
    eventually(lambda: thread.rounds == 3, "a third round")
    thread.stop()


def test_one_that_never_began_can_be_stopped_and_has_not_ended() -> None:
    thread = Rounds()
    assert not thread.has_ended
    thread.stop()
    assert thread.rounds == 0


def test_one_that_ends_by_an_error_says_so(caplog: pytest.LogCaptureFixture) -> None:
    thread = Failing()
    thread.start()
    eventually(lambda: thread.has_ended, "its end")
    (record,) = caplog.records
    assert record.levelname == "CRITICAL"
    assert record.getMessage() == "the thread failing ended by an error: restart the bridge"
    assert "ZeroDivisionError: a fault" in caplog.text
    thread.stop()


class Busy(WorkerThread):
    """Is at work until it is let go, as with a host that does not answer."""

    def __init__(self) -> None:
        super().__init__("busy")
        self.let_go = threading.Event()

    def work(self) -> None:
        self.let_go.wait()


@pytest.mark.parametrize("place", [0, 1])
def test_while_one_is_still_at_work_the_others_end(place: int) -> None:
    busy, quick = Busy(), Rounds()
    threads: list[WorkerThread] = [quick]
    threads.insert(place, busy)
    for thread in threads:
        thread.start()
    stopping = threading.Thread(target=stop_all, args=[threads])
    stopping.start()
    eventually(lambda: not quick.is_running, "the end of the one that is not at work")
    assert busy.is_running
    assert stopping.is_alive()
    assert not busy.has_ended
    busy.let_go.set()
    stopping.join()
    assert not busy.is_running


@pytest.mark.parametrize("error", [SQLAlchemyError("it is away\nSELECT 1"), ZeroDivisionError("a fault")])
def test_a_round_that_fails_is_counted_and_logged_and_the_thread_goes_on(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail() -> None:
        raise error

    thread = Rounds()
    assert thread.attempt(lambda: None, "nothing is done")
    assert not thread.attempt(fail, "nothing is done")
    assert thread.errors == 1
    assert "nothing is done" in caplog.text
    assert "SELECT" not in caplog.text
