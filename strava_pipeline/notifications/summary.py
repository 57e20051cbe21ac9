"""An activity in words, for mails and reports, in the athlete's units."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from strava_pipeline.notifications.wording import (
    ON_FOOT,
    bpm,
    change,
    change_of_speed,
    isolated,
    ordinal,
    plain,
    shown,
    sport_name,
    temperature,
    velocity,
    watts,
)
from strava_pipeline.units import METRIC, Units, duration, units_of
from strava_pipeline.warehouse.analysis.ride_facts import RideFacts
from strava_pipeline.warehouse.analysis.ride_parts import Ride, RideClimb, RouteRank

ACTIVITY_URL = "https://www.strava.com/activities/{}"
# With fewer activities before this one, nothing counts as usual.
USUAL_FROM = 3
# Durations and distances that people talk about.
POWER_DURATIONS_S: dict[float | None, str] = {5: "5 s", 60: "1 min", 300: "5 min", 1_200: "20 min", 3_600: "1 h"}
RUN_DISTANCES_M: dict[float | None, str] = {
    1_000.0: "1 km",
    1_609.344: "1 mile",
    5_000.0: "5 km",
    10_000.0: "10 km",
    21_097.5: "half marathon",
    42_195.0: "marathon",
}
RIDE_DISTANCES_M: dict[float | None, str] = {10_000.0: "10 km", 20_000.0: "20 km", 30_000.0: "30 km"}
MOST_CLIMBS = 6
LONGEST_TITLE = 80


@dataclass(frozen=True)
class Figure:
    """One figure, the usual one (or ''), and the change from that, such as ``+12 %`` (or '')."""

    label: str
    value: str
    usual: str = ""
    change: str = ""


@dataclass(frozen=True)
class ClimbLine:
    """One climb in words."""

    at: str
    length: str
    gain: str
    grade: str
    category: str
    time: str


@dataclass(frozen=True)
class SplitLine:
    """One kilometre or mile in words; ``share`` is its speed as a share of the fastest one's, 0 to 1."""

    name: str
    speed: str
    climb: str
    heart_rate: str
    share: float


@dataclass(frozen=True)
class ZoneLine:
    """The time in one zone; ``share`` is its share of the time in all zones of that kind, 0 to 1."""

    name: str
    bounds: str
    time: str
    share: float


@dataclass(frozen=True)
class Summary:
    """Everything that a summary says.

    ``url``: the activity's page at Strava; empty if Strava has none. ``climbs``: the highest of ``all_climbs``.
    ``usual_of``: the number of activities compared; 0 if there are too few.
    """

    title: str
    sport: str
    when: str
    url: str
    units: Units
    greeting: str
    figures: tuple[Figure, ...]
    more_figures: tuple[Figure, ...]
    usual_of: int
    climbs: tuple[ClimbLine, ...]
    all_climbs: tuple[ClimbLine, ...]
    records: tuple[str, ...]
    rank: str
    load: tuple[Figure, ...]
    splits: tuple[SplitLine, ...]
    zones: dict[str, tuple[ZoneLine, ...]]

    @property
    def more_climbs(self) -> int:
        """The number of climbs that are not in ``climbs``."""
        return len(self.all_climbs) - len(self.climbs)


def summarize(facts: RideFacts) -> Summary:
    """Return the summary of an activity."""
    activity = facts.activity
    units = METRIC if facts.athlete is None else units_of(facts.athlete.measurement_preference)
    climbs = tuple(_climb(row, units) for row in facts.climbs)
    firstname = shown(facts.athlete.firstname or "", LONGEST_TITLE) if facts.athlete is not None else ""
    return Summary(
        title=shown(activity.name, LONGEST_TITLE) or "Untitled",
        sport=sport_name(activity.sport_type),
        when=_when(activity),
        # The id of a file's activity is negative: Strava has no page for it.
        url=ACTIVITY_URL.format(activity.id) if activity.id > 0 else "",
        units=units,
        greeting=f"Well done, {isolated(firstname)}!" if firstname else "Well done!",
        figures=tuple(_key_figures(facts, units)),
        more_figures=tuple(_more_figures(facts, units)),
        usual_of=facts.usual.activity_count if facts.usual.activity_count >= USUAL_FROM else 0,
        climbs=_highest(facts, climbs),
        all_climbs=climbs,
        records=tuple(_records(facts)),
        rank=_rank(facts.rank),
        load=tuple(_load(facts)),
        splits=_splits(facts, units),
        zones={kind: lines for kind in ("heart rate", "power") if (lines := _zones(facts, kind))},
    )


def _when(activity: Ride) -> str:
    start = activity.local_start
    return f"{start:%A}, {start.day} {start:%B %Y}, {start:%H:%M}"


def _key_figures(facts: RideFacts, units: Units) -> Iterator[Figure]:
    """The main figures, each with what is usual."""
    activity, usual = facts.activity, facts.usual
    name, form = velocity(activity.sport_type, units)
    load = None if facts.figures is None else facts.figures.training_load
    rows: tuple[tuple[str, float | None, float | None, Callable[[float], str]], ...] = (
        ("Distance", activity.distance, usual.distance, units.distance),
        ("Moving time", activity.moving_time, usual.moving_time, duration),
        ("Climbed", activity.total_elevation_gain, usual.total_elevation_gain, units.height),
        (name, activity.average_speed, usual.average_speed, form),
        ("Average heart rate", activity.average_heartrate, usual.average_heartrate, bpm),
        ("Average power", activity.average_watts, usual.average_watts, watts),
        ("Training load", load, usual.training_load, plain),
    )
    compared = usual.activity_count >= USUAL_FROM
    for label, value, median, written in rows:
        if value:
            known = median if compared else None
            compare = change_of_speed if label == name else change
            yield Figure(label, written(value), written(known) if known else "", compare(value, known) if known else "")


def _more_figures(facts: RideFacts, units: Units) -> Iterator[Figure]:
    """All other figures, for the report."""
    activity, figures = facts.activity, facts.figures
    if activity.elapsed_time:
        yield Figure("Elapsed time", duration(activity.elapsed_time))
    if activity.max_speed:
        _, form = velocity(activity.sport_type, units)
        yield Figure("Fastest", form(activity.max_speed))
    if activity.max_heartrate:
        yield Figure("Highest heart rate", bpm(activity.max_heartrate))
    if activity.calories:
        yield Figure("Energy", f"{activity.calories:,.0f} kcal")
    if figures is None:
        return
    forms: tuple[tuple[str, float | None, Callable[[float], str]], ...] = (
        ("Descended", figures.elevation_loss_m, units.height),
        ("Highest point", figures.highest_altitude_m, units.height),
        ("Stopped", figures.stopped_time_s, duration),
        ("Normalized power", figures.normalized_power_w, watts),
        ("Work", figures.work_kj, lambda value: f"{value:,.0f} kJ"),
        ("Intensity", figures.intensity, lambda value: f"{value:.2f}"),
        ("Decoupling", figures.decoupling_percent, lambda value: f"{value:.1f} %".replace("-", "\u2212")),
        ("Average cadence", figures.average_cadence_rpm, lambda value: f"{value:.0f} rpm"),
        ("Temperature", figures.average_temperature_c, temperature(units)),
    )
    for label, value, written in forms:
        if value is not None:
            yield Figure(label, written(value))


def _climb(row: RideClimb, units: Units) -> ClimbLine:
    return ClimbLine(
        at=units.distance(row.start_m),
        length=units.distance(row.length_m),
        gain=units.height(row.change_m),
        grade=f"{row.average_grade_percent:.1f} %",
        category="" if row.category is None else row.category if row.category == "HC" else f"Cat. {row.category}",
        time="" if row.elapsed_time_s is None else duration(row.elapsed_time_s),
    )


def _highest(facts: RideFacts, lines: tuple[ClimbLine, ...]) -> tuple[ClimbLine, ...]:
    """The climbs that gain most height, in the order of the route."""
    places = sorted(range(len(lines)), key=lambda place: -facts.climbs[place].change_m)[:MOST_CLIMBS]
    return tuple(lines[place] for place in sorted(places))


def _records(facts: RideFacts) -> Iterator[str]:
    distances = RUN_DISTANCES_M if facts.activity.sport_type in ON_FOOT else RIDE_DISTANCES_M
    for row in facts.records:
        match row.measure:
            # Without the value, which is among the main figures.
            case "distance_m":
                yield "Longest distance so far"
            case "moving_time_s":
                yield "Longest time in motion so far"
            case "elevation_gain_m":
                yield "Most climbed in one activity so far"
            case "power_w" if over := POWER_DURATIONS_S.get(row.amount):
                yield f"Best power over {over}: {watts(row.value)}"
            case "elapsed_time_s" if distance := distances.get(row.amount):
                yield f"Fastest {distance}: {duration(row.value)}"


def _rank(row: RouteRank | None) -> str:
    if row is None:
        return ""
    way = "this route, in this direction" if row.reversed else "this route"
    if row.times_taken == 1:
        return f"First time on {way}."
    if row.rank_on_route == 1:
        return f"Your fastest of {row.times_taken} times on {way}."
    behind = duration(row.behind_best_s)
    return f"Your {ordinal(row.rank_on_route)} fastest of {row.times_taken} times on {way}, {behind} behind your best."


def _load(facts: RideFacts) -> Iterator[Figure]:
    """The load of the last 7 days, against the week before; fitness, fatigue and form."""
    days = {row.day: row for row in facts.days}
    day = facts.activity.local_day
    today = days.get(day)
    if today is None:
        return
    before = days.get(day - timedelta(days=7))
    earlier = None if before is None else before.week_load
    yield Figure(
        "Load of the last 7 days",
        plain(today.week_load),
        plain(earlier) if earlier else "",
        change(today.week_load, earlier) if earlier else "",
    )
    yield Figure("Fitness", f"{today.fitness:.0f}")
    yield Figure("Fatigue", f"{today.fatigue:.0f}")
    yield Figure("Form", f"{today.form:+.0f}".replace("-", "\u2212"))


def _splits(facts: RideFacts, units: Units) -> tuple[SplitLine, ...]:
    unit = "metric" if units is METRIC else "standard"
    rows = [row for row in facts.splits if row.unit == unit]
    fastest = max((row.average_speed_mps or 0.0 for row in rows), default=0.0)
    _, form = velocity(facts.activity.sport_type, units)
    return tuple(
        SplitLine(
            name=f"{row.split}" if row.distance_m > 0.99 * units.distance_m else units.distance(row.distance_m),
            speed=form(row.average_speed_mps) if row.average_speed_mps else "",
            climb=""
            if row.elevation_difference_m is None
            else f"{row.elevation_difference_m / units.height_m:+.0f} {units.height_name}".replace("-", "\u2212"),
            heart_rate="" if row.average_heartrate_bpm is None else f"{row.average_heartrate_bpm:.0f}",
            share=(row.average_speed_mps or 0.0) / fastest if fastest else 0.0,
        )
        for row in rows
    )


def _zones(facts: RideFacts, kind: str) -> tuple[ZoneLine, ...]:
    rows = [row for row in facts.zones if row.kind == kind.replace(" ", "_")]
    whole = sum(row.time_s for row in rows)
    if not whole:
        return ()
    unit = "bpm" if kind == "heart rate" else "W"
    return tuple(
        ZoneLine(
            name=f"Z{row.zone}",
            bounds=f"{row.low:.0f}+ {unit}" if row.high is None else f"{row.low:.0f}\u2013{row.high:.0f} {unit}",
            time=duration(row.time_s),
            share=row.time_s / whole,
        )
        for row in rows
    )
