"""Two months of an installation, with outages of all it depends on: afterwards the tables are Strava's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from strava_pipeline_tests.simulated.year import Form, Year, small_form


# It starts none, but takes as long as tests that do: so it is one of `make integration`.
@pytest.mark.processes
@pytest.mark.long
def test_two_months_of_troubles_end_in_tables_equal_to_strava(simulated: Callable[[Form], Year]) -> None:
    report = simulated(small_form(seed=6)).run()
    assert report.faults == []
    # The simulation met what it is for.
    assert report.without_answer
    assert report.deliveries["lost"]
