"""The pictures of one activity, each with a name, a heading, and a description for people who cannot see it.

They need the extra ``pictures``. Mails and pages are whole without it, but for the pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from strava_pipeline.analysis.track import Track
from strava_pipeline.extras import Extra, is_installed
from strava_pipeline.pictures.themes import LIGHT, Theme
from strava_pipeline.units import Units
from strava_pipeline.warehouse.analysis.ride_facts import RideFacts


@dataclass(frozen=True)
class Picture:
    """A PNG with its name, heading, and description."""

    name: str
    heading: str
    description: str
    png: bytes


def gallery(facts: RideFacts, track: Track | None, units: Units, theme: Theme = LIGHT) -> dict[str, Picture]:
    """Return the pictures for which there is data, by name: route, profile, power, fitness.

    None without the libraries that draw them.
    """
    if not is_installed(Extra.PICTURES):
        return {}
    return {picture.name: picture for picture in _pictures(facts, track, units, theme)}


def _pictures(facts: RideFacts, track: Track | None, units: Units, theme: Theme) -> Iterator[Picture]:
    # The libraries that draw are slow to load, and may be missing.
    from strava_pipeline.pictures.fitness import fitness_picture  # noqa: PLC0415
    from strava_pipeline.pictures.power_curve import power_curve_picture  # noqa: PLC0415
    from strava_pipeline.pictures.profile import profile_picture  # noqa: PLC0415
    from strava_pipeline.pictures.route import ColourBy, route_picture  # noqa: PLC0415

    if track is not None:
        if route := route_picture(track, colour_by=ColourBy.SPEED, units=units, theme=theme):
            yield Picture("route", "Route", "The route, coloured by speed; north is up.", route)
        if profile := profile_picture(track, facts.climbs, units=units, theme=theme):
            yield Picture("profile", "Elevation", "Heights along the way, climbs shaded.", profile)
    if power := power_curve_picture(facts.curve, facts.earlier_curve, theme=theme):
        yield Picture(
            "power", "Power curve", "Best mean power by duration, beside the best of the 90 days before.", power
        )
    if fitness := fitness_picture(facts.days, theme=theme):
        yield Picture("fitness", "Fitness", "Fitness, fatigue and form of the last 120 days.", fitness)
