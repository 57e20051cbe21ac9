"""``make soak`` runs tests that are there; ``make test`` leaves nothing to chance."""

from __future__ import annotations

import importlib
from pathlib import Path

import hypothesis
import pytest

from strava_pipeline_tests.histories import SOAKED
from strava_pipeline_tests.soak import TESTS, run


@pytest.mark.parametrize("test", TESTS)
def test_a_test_of_the_soak_is_there(test: str) -> None:
    path, _, name = test.partition("::")
    module = importlib.import_module(".".join(Path(path).with_suffix("").parts))
    assert hypothesis.is_hypothesis_test(getattr(module, name))


def test_a_run_tells_how_many_examples_passed() -> None:
    done = run("strava_pipeline_tests/test_months.py::test_months_added_are_months_taken_back", seed=7)
    assert (done.examples, done.failure) == (SOAKED, "")


def test_examples_are_the_same_each_time() -> None:
    assert hypothesis.settings().derandomize
