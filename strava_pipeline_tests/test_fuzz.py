"""The short form of ``make fuzz``, and that it would find a fault."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from strava_pipeline_tests.fuzz import MOST_MIB, fuzz, lines
from strava_pipeline_tests.fuzzed.inputs import Input, Kind, damaged_input
from strava_pipeline_tests.fuzzed.reading import check_storable
from strava_pipeline_tests.fuzzed.trial import Fault, Outcome, try_inputs

SEED = 20_261_201
INPUTS = 120


@pytest.mark.parametrize("kind", list(Kind))
def test_damaged_files_are_read_or_refused_in_one_line(kind: Kind) -> None:
    found = try_inputs(damaged_input(SEED, number, kind) for number in range(INPUTS))
    assert found.faults == []
    assert found.read[kind] > INPUTS / 10
    assert found.refused[kind] > INPUTS / 10


def test_a_number_gives_its_input_again() -> None:
    assert [damaged_input(SEED, number) for number in range(20)] == [
        damaged_input(SEED, number) for number in range(20)
    ]
    assert {damaged_input(SEED, number).kind for number in range(20)} == set(Kind)


def test_an_error_is_a_fault() -> None:
    def broken(given: Input, folder: Path) -> bool:
        raise OverflowError(f"{given.number} of {folder.is_dir()}")

    (fault,) = try_inputs([damaged_input(SEED, 3)], broken).faults
    assert (fault.number, fault.kind) == (3, Kind.GZIP)
    assert fault.what.startswith("OverflowError in test_fuzz.py:")


@pytest.mark.parametrize("value", [2**31, float("inf"), "a\0b", "\ud800", b""])
def test_what_postgres_cannot_hold_is_a_fault(value: object) -> None:
    with pytest.raises(AssertionError, match="row 1: total_steps is "):
        check_storable({"total_steps": value}, "row 1")


def ends_on_the_fourth(given: Input, folder: Path) -> bool:
    if given.number == 4:
        os._exit(9)
    return folder.is_dir()


def test_a_crash_is_told_and_the_rest_goes_on() -> None:
    found, peak = fuzz(SEED, range(8), ends_on_the_fourth)
    assert (found.read.total(), [fault.number for fault in found.faults]) == (7, [4])
    assert "exit code 9" in found.faults[0].what
    assert 0 < peak < MOST_MIB


def test_a_fault_is_printed_with_the_command_that_repeats_it() -> None:
    outcome = Outcome(faults=[Fault(17, Kind.ZIP, "took 3.0 s")])
    printed = "\n".join(lines(outcome, 99.0, 5, 1.0))
    assert "1 inputs of seed 5 in 1 s: 1 faults" in printed
    assert "input 17 (zip) took 3.0 s" in printed
    assert "python -m strava_pipeline_tests.fuzz --seed 5 --only 17" in printed
