from __future__ import annotations

import pytest

from strava_pipeline.units import IMPERIAL, METRIC, duration, units_of


@pytest.mark.parametrize(
    ("preference", "units"), [("feet", IMPERIAL), ("meters", METRIC), ("", METRIC), (None, METRIC)]
)
def test_the_athletes_setting_decides(preference: str | None, units: object) -> None:
    assert units_of(preference) is units


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (METRIC.distance(42_195), "42.2 km"),
        (METRIC.distance(99), "99 m"),
        (METRIC.distance(1_234_567), "1,234.6 km"),
        (IMPERIAL.distance(42_195), "26.2 mi"),
        (IMPERIAL.distance(30.48), "100 ft"),
        (METRIC.height(1234.4), "1,234 m"),
        (IMPERIAL.height(304.8), "1,000 ft"),
        (METRIC.speed(10), "36.0 km/h"),
        (IMPERIAL.speed(10), "22.4 mph"),
        (METRIC.pace(1000 / 299.6), "5:00 /km"),
        (IMPERIAL.pace(1609.344 / 480), "8:00 /mi"),
        (METRIC.pace(0), "- /km"),
        (METRIC.swim_pace(1), "1:40 /100 m"),
        (IMPERIAL.swim_pace(0.9144), "1:40 /100 yd"),
        (duration(59.6), "1:00"),
        (duration(0), "0:00"),
        (duration(3599.5), "1:00:00"),
        (duration(90_061), "25:01:01"),
    ],
)
def test_figures_read_as_people_write_them(shown: str, text: str) -> None:
    assert shown == text
