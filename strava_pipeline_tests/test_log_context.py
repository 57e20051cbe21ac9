"""Each line carries the ids of what its thread is at, and no others."""

from __future__ import annotations

import threading

import pytest

from strava_pipeline.log_context import add_log_ids, begin_log_ids, current_log_ids, keeping_log_ids, log_ids


@pytest.fixture(autouse=True)
def without_ids() -> None:
    begin_log_ids()


def test_a_block_adds_its_ids_and_takes_them_back() -> None:
    with log_ids(run_id="ab12", athlete_id=1):
        with log_ids(athlete_id=2, event_id=3):
            assert current_log_ids() == {"run_id": "ab12", "athlete_id": 2, "event_id": 3}
        assert current_log_ids() == {"run_id": "ab12", "athlete_id": 1}
    assert current_log_ids() == {}


def test_a_block_that_fails_takes_its_ids_back() -> None:
    with pytest.raises(KeyError), log_ids(fence=1):
        raise KeyError
    assert current_log_ids() == {}


def test_ids_that_become_known_later_end_with_the_block() -> None:
    with log_ids():
        add_log_ids(athlete_id=1)
        assert current_log_ids() == {"athlete_id": 1}
    assert current_log_ids() == {}


def test_what_begins_anew_has_no_ids_of_what_was_before() -> None:
    begin_log_ids(request_id="first", event_id=1)
    begin_log_ids(request_id="second")
    assert current_log_ids() == {"request_id": "second"}


def test_an_id_that_is_not_known_is_left_out() -> None:
    with log_ids(event_id=None, activity_id=None, athlete_id=1):
        assert current_log_ids() == {"athlete_id": 1}


def test_one_of_several_is_found_as_one_alone() -> None:
    with log_ids(event_id=[7]):
        assert current_log_ids() == {"event_id": 7}
    with log_ids(event_id=(7, 8)):
        assert current_log_ids() == {"event_id": [7, 8]}


def test_a_thread_has_the_ids_that_are_handed_over_and_no_others() -> None:
    seen = {}

    def look(name: str) -> None:
        seen[name] = dict(current_log_ids())

    with log_ids(run_id="ab12"):
        threads = [threading.Thread(target=look, args=["alone"])]
        threads.append(threading.Thread(target=keeping_log_ids(look), args=["handed over"]))
    for thread in threads:
        thread.start()
        thread.join()
    assert seen == {"alone": {}, "handed over": {"run_id": "ab12"}}
