"""Pictures of rides with and without everything; each is looked at through its pixels."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pytest
from PIL import Image

from strava_pipeline.analysis.figures import analyse
from strava_pipeline.analysis.track import Track
from strava_pipeline.pictures.fitness import fitness_picture
from strava_pipeline.pictures.power_curve import power_curve_picture
from strava_pipeline.pictures.profile import profile_picture
from strava_pipeline.pictures.route import ColourBy, _round_length, project_from_middle, route_picture
from strava_pipeline.pictures.themes import DARK, LIGHT, Theme
from strava_pipeline.units import IMPERIAL, METRIC
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

MOST_BYTES = 100_000
GREEN_DOT = (0, 158, 115)


def loop(count: int, *, latitude: float = 47.0, longitude: float = 13.0) -> Track:
    """A ride around a hill with noise in every sensor, ``count`` samples."""
    noise = np.random.default_rng(7)
    turn = np.linspace(0, 2 * np.pi, count)
    east = (longitude + 0.1 * np.cos(turn) + 0.004 * np.cos(9 * turn) + 180) % 360 - 180
    speed = 8 + 2 * np.sin(3 * turn) + noise.normal(0, 0.5, count)
    return Track(
        time=np.arange(count, dtype=float),
        distance=np.cumsum(speed),
        latitude=latitude + 0.06 * np.sin(turn) + noise.normal(0, 1e-5, count),
        longitude=east,
        altitude=400 + 250 * (1 - np.cos(turn)),
        speed=speed,
        heart_rate=130 + 20 * np.sin(5 * turn),
        grade=8 * np.sin(turn),
    )


def opened(picture: bytes | None) -> Image.Image:
    assert picture is not None
    assert len(picture) < MOST_BYTES
    image = Image.open(io.BytesIO(picture))
    assert image.format == "PNG"
    assert image.width == 960
    return image.convert("RGB")


def colours(picture: bytes | None) -> set[tuple[int, ...]]:
    image = opened(picture)
    found = image.getcolors(image.width * image.height)
    assert found is not None
    return {colour for _, colour in found if isinstance(colour, tuple)}


@dataclass(frozen=True)
class Day:
    day: date
    fitness: float
    fatigue: float
    form: float


def days(count: int) -> list[Day]:
    return [Day(date(2020, 1, 1) + timedelta(place), 50.0, 60.0 + place % 7, -10.0) for place in range(count)]


@pytest.mark.parametrize("colour_by", ColourBy)
@pytest.mark.parametrize("count", [2, 3_600, 200_000])
def test_a_route_is_drawn_whatever_its_length(colour_by: ColourBy, count: int) -> None:
    picture = route_picture(loop(count), colour_by=colour_by)
    assert GREEN_DOT in colours(picture)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_paper_has_the_themes_colour(theme: Theme) -> None:
    for picture in (
        route_picture(loop(500), theme=theme),
        profile_picture(loop(500), theme=theme),
        power_curve_picture({5: 500.0, 60: 300.0}, theme=theme),
        fitness_picture(days(90), theme=theme),
    ):
        corner = opened(picture).getpixel((2, 2))
        assert corner == tuple(bytes.fromhex(theme.paper[1:]))


@pytest.mark.parametrize(
    "track",
    [
        Track(),
        Track(time=np.arange(9.0)),
        Track(latitude=np.full(4, np.nan), longitude=np.full(4, np.nan)),
        Track(latitude=np.empty(0), longitude=np.empty(0)),
    ],
)
def test_without_positions_and_heights_there_is_no_picture(track: Track) -> None:
    assert route_picture(track) is None
    assert profile_picture(track) is None


def test_one_position_is_a_dot_with_a_scale() -> None:
    one = Track(latitude=np.array([47.0]), longitude=np.array([13.0]))
    assert GREEN_DOT in colours(route_picture(one))
    assert profile_picture(Track(altitude=np.array([3.0]), distance=np.array([0.0]))) is None


def test_a_position_that_cannot_be_true_does_not_shrink_the_rest() -> None:
    track = loop(3_600)
    assert track.latitude is not None
    clean = route_picture(track)
    track.latitude[1_000:1_003] = -47.0
    assert drawn_share(route_picture(track)) > 0.7 * drawn_share(clean)


def drawn_share(picture: bytes | None) -> float:
    return float((np.asarray(opened(picture)) != 255).any(axis=2).mean())


def test_a_metre_east_is_as_long_as_a_metre_north() -> None:
    # A square of a kilometre at 60 degrees north, where a degree of longitude is half as long.
    side = 1_000 / (np.pi / 180 * 6_371_008.8)
    latitude = 60 + np.array([0, side, side, 0, 0]) - side / 2
    longitude = 10 + 2 * np.array([0, 0, side, side, 0])
    east, north = project_from_middle(latitude, longitude)
    assert np.ptp(east) == pytest.approx(1_000, rel=1e-3)
    assert np.ptp(north) == pytest.approx(1_000, rel=1e-3)
    picture = np.asarray(opened(route_picture(Track(latitude=latitude, longitude=longitude))))
    blue = (picture == (0, 114, 178)).all(axis=2)
    rows, columns = np.flatnonzero(blue.any(axis=1)), np.flatnonzero(blue.any(axis=0))
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), rel=0.02)


def test_a_route_across_the_antimeridian_stays_in_one_piece() -> None:
    across, elsewhere = loop(1_000, longitude=180.0), loop(1_000, longitude=13.0)
    assert across.latitude is not None
    assert across.longitude is not None
    assert across.longitude.min() < -179
    assert across.longitude.max() > 179
    east, _ = project_from_middle(across.latitude, across.longitude)
    assert np.ptp(east) < 20_000
    assert drawn_share(route_picture(across)) == pytest.approx(drawn_share(route_picture(elsewhere)), rel=0.02)


@pytest.mark.parametrize("latitude", [89.999, -90.0])
def test_poles_are_places_as_well(latitude: float) -> None:
    count = 100
    track = Track(latitude=np.full(count, latitude), longitude=np.linspace(-180, 180, count))
    assert GREEN_DOT in colours(route_picture(track))


@pytest.mark.parametrize(
    ("about", "metric", "imperial"),
    [(6_400, "5 km", "2 mi"), (940, "500 m", "2,000 ft"), (23, "20 m", "50 ft"), (1_999_000, "1,000 km", "1,000 mi")],
)
def test_the_scale_bar_has_a_round_length_in_the_athletes_units(about: float, metric: str, imperial: str) -> None:
    for units, label in ((METRIC, metric), (IMPERIAL, imperial)):
        metres, shown = _round_length(about, units)
        assert shown == label
        assert about / 2.6 < metres <= about


def test_units_change_the_axes() -> None:
    track = loop(800)
    climbs = analyse(track).climbs
    assert climbs
    assert profile_picture(track, climbs) != profile_picture(track, climbs, units=IMPERIAL)
    assert route_picture(track) != route_picture(track, units=IMPERIAL)


def test_climbs_are_shaded() -> None:
    track = loop(3_600)
    orange = {colour for colour in colours(profile_picture(track, analyse(track).climbs)) if is_orange(colour)}
    assert orange
    assert not {colour for colour in colours(profile_picture(track)) if is_orange(colour)}


def is_orange(colour: tuple[int, ...]) -> bool:
    return colour[0] > 200 and 130 < colour[1] < 200 and colour[2] < 110


@pytest.mark.parametrize("count", [0, 1])
def test_an_empty_history_has_no_chart(count: int) -> None:
    assert fitness_picture(days(count)) is None
    assert power_curve_picture({}) is None


@pytest.mark.parametrize("count", [2, 3, 5, 9, 20, 90, 500, 6_000])
def test_a_history_of_any_length_is_a_chart(count: int) -> None:
    opened(fitness_picture(days(count)))


@pytest.mark.parametrize("watts", [{5: 800.0}, {5: 800.0, 7_200: 150.0}])
@pytest.mark.parametrize("best", [None, {}, {5: 900.0, 60: 500.0, 7_200: 180.0}])
def test_a_power_curve_of_any_length(watts: dict[int, float], best: dict[int, float] | None) -> None:
    opened(power_curve_picture(watts, best))


@pytest.mark.parametrize("draw", [route_picture, profile_picture])
def test_the_same_ride_gives_the_same_bytes(draw: Callable[[Track], bytes | None]) -> None:
    assert draw(loop(900)) == draw(loop(900))


def test_pictures_need_no_pyplot() -> None:
    code = (
        "import sys, strava_pipeline.pictures.route, strava_pipeline.pictures.fitness;"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=PATIENCE_SECONDS).returncode == 0
