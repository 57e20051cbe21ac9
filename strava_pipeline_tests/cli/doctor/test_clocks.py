"""How far two clocks are apart, when one is known in whole seconds and its answer took a while."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from strava_pipeline.cli.doctor.clocks import judged, seconds_off
from strava_pipeline.cli.doctor.findings import Verdict

NOW = datetime(2026, 11, 30, 8, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("sent", "received", "told", "ahead"),
    [
        (0.0, 0.2, 0, 0.0),
        (0.9, 1.0, 0, 0.0),  # the other clock may show 0.95, cut off
        (0.0, 4.0, 2, 0.0),  # a slow answer
        (3.5, 3.6, 0, 2.5),
        (0.0, 0.5, 90, -89.5),
        (0.0, 4.0, 90, -86.0),
    ],
)
def test_what_is_not_known_does_not_count_as_a_difference(
    sent: float, received: float, told: int, ahead: float
) -> None:
    first, last, other = (NOW + timedelta(seconds=moment) for moment in (sent, received, told))
    assert seconds_off(first, last, other, SECOND) == pytest.approx(ahead)


@pytest.mark.parametrize(
    ("ahead", "verdict", "words"),
    [
        (0.0, Verdict.OK, "within 2 s of Strava's"),
        (-2.0, Verdict.OK, "within 2 s of Strava's"),
        (2.6, Verdict.WARN, "this machine's clock is 3 s ahead of Strava's"),
        (-59.0, Verdict.WARN, "this machine's clock is 59 s behind Strava's"),
        (3600.0, Verdict.FAIL, "this machine's clock is 3,600 s ahead of Strava's"),
    ],
)
def test_two_seconds_are_a_warning_and_a_minute_is_a_fault(ahead: float, verdict: Verdict, words: str) -> None:
    finding = judged(ahead, "Strava's")
    assert (finding.verdict, finding.message) == (verdict, words)
    assert bool(finding.what_to_do) is (verdict is not Verdict.OK)
