"""Faults of a recording: found, kept out of the figures, and told.

A value nobody can have, a position the athlete cannot have jumped to, a sensor that repeats itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from strava_pipeline.analysis.geo import haversine_m, picked, places_known
from strava_pipeline.analysis.track import Flags, Indices, Samples, Track

# What no athlete and no place on Earth goes beyond; a year is longer than any activity.
PLAUSIBLE = {
    "time": (-1.0, 3.2e7),
    "distance": (0.0, 1e7),
    "latitude": (-90.0, 90.0),
    "longitude": (-180.0, 180.0),
    "altitude": (-500.0, 9_000.0),
    "speed": (0.0, 55.0),
    "heart_rate": (25.0, 250.0),
    "cadence": (0.0, 300.0),
    "power": (0.0, 3_000.0),
    "temperature": (-60.0, 80.0),
    "moving": (0.0, 1.0),
    "grade": (-100.0, 100.0),
}
FASTEST_MPS = 55.0
# A position this near may be told twice in one second.
SAME_PLACE_M = 50.0
# Somebody who was carried off comes back within this time, or really is there.
AWAY_S = 300.0
# A living heart, leg or meter varies within this time; 0 (coasting) may last.
STUCK_S = 300.0
# So many looks at a sensor fall into this time.
LOOKS = 4
STUCK_SENSORS = ("heart_rate", "power", "cadence")


@dataclass(frozen=True)
class Fault:
    """Samples kept out: ``kind`` is implausible, jump, stuck or gap, ``series`` the stream concerned.

    ``start_s`` and ``end_s`` are seconds since the first sample (0 where the recording has no times).
    """

    kind: str
    series: str
    start_s: float
    end_s: float
    samples: int


@dataclass(frozen=True)
class Cleaned:
    """A track without what cannot be true, its ``seconds`` since the start, and what was found.

    ``legs_m``: metres from each sample to the next, shape (n - 1,), 0 where a jump or nothing leads there.
    """

    track: Track
    seconds: Samples | None
    legs_m: Samples | None
    faults: list[Fault]


def seconds_of(time: Samples | None) -> Samples | None:
    """Seconds since the first sample, shape (n,); a clock that goes back stands still, missing times lie evenly."""
    if time is None:
        return None
    known = np.isfinite(time)
    if not known.all():
        places = np.flatnonzero(known)
        if not len(places):
            return None
        time = np.interp(np.arange(len(time)), places, time[places])
    if not len(time):
        return None
    steps = np.diff(time)
    if len(steps) and steps.min() < 0:
        return np.concatenate(([0.0], np.cumsum(np.maximum(steps, 0))))
    return np.asarray(time - time[0])


def clean(track: Track) -> Cleaned:
    """Put NaN for each sample that cannot be true; all series get as long as the longest."""
    count = track.point_count
    series: dict[str, Samples] = {}
    faults: list[Fault] = []
    for name, samples in vars(track).items():
        if samples is not None:
            series[name], found = _plausible(name, _filled_up(samples, count))
            faults += found
    seconds = seconds_of(series.get("time"))
    sensors = [name for name in STUCK_SENSORS if name in series]
    if seconds is not None and sensors:
        looks = np.searchsorted(seconds, np.arange(0.0, seconds[-1], STUCK_S / LOOKS))
        for name in sensors:
            if _may_be_stuck(series[name][looks]):
                series[name], found = _without_stuck(name, series[name], seconds)
                faults += found
    legs = None
    if "latitude" in series and "longitude" in series:
        legs, bad, found = _legs(series["latitude"], series["longitude"], seconds)
        faults += found
        if bad is not None:
            series |= {name: np.where(bad, np.nan, series[name]) for name in ("latitude", "longitude")}
    return Cleaned(replace(track, **series), seconds, legs, faults)


def _filled_up(samples: Samples, count: int) -> Samples:
    if len(samples) == count:
        return samples
    return np.concatenate((samples, np.full(count - len(samples), np.nan)))


def _plausible(name: str, samples: Samples) -> tuple[Samples, list[Fault]]:
    low, high = PLAUSIBLE[name]
    # Comparisons with NaN are false: a clean series without gaps takes two reductions and is done.
    if len(samples) and samples.min() >= low and samples.max() <= high:
        return samples, []
    bad = ((samples < low) | (samples > high)) & ~np.isnan(samples)
    count = int(np.count_nonzero(bad))
    if not count:
        return samples, []
    return np.where(bad, np.nan, samples), [Fault("implausible", name, 0.0, 0.0, count)]


def _may_be_stuck(looks: Samples) -> bool:
    """Whether one value, other than 0, is met at each look within :data:`STUCK_S`: few sensors that live are."""
    same = (looks[1:] == looks[:-1]) & (looks[1:] > 0)
    return bool((same[2:] & same[1:-1] & same[:-2]).any())


def _without_stuck(name: str, samples: Samples, seconds: Samples) -> tuple[Samples, list[Fault]]:
    """NaN wherever one value, other than 0, repeats for too long."""
    ends = np.append((samples[1:] != samples[:-1]).nonzero()[0], len(samples) - 1)
    begins = np.append(0, ends[:-1] + 1)
    stuck = (seconds[ends] - seconds[begins] >= STUCK_S) & (samples[ends] > 0)
    if not stuck.any():
        return samples, []
    cleaned = samples.copy()
    faults = []
    for begin, end in zip(begins[stuck], ends[stuck], strict=True):
        cleaned[begin : end + 1] = np.nan
        faults.append(Fault("stuck", name, float(seconds[begin]), float(seconds[end]), int(end - begin + 1)))
    return cleaned, faults


def _legs(
    latitude: Samples, longitude: Samples, seconds: Samples | None
) -> tuple[Samples | None, Flags | None, list[Fault]]:
    """Metres from each sample to the next, which positions are out of the way, and the jumps found."""
    known = places_known(latitude, longitude)
    if not len(known):
        return None, None, []
    where = (picked(latitude, known), picked(longitude, known))
    lengths = haversine_m(*where)
    if seconds is None:
        return _spread(lengths, known, len(latitude)), None, []
    when = picked(seconds, known)
    fast = fast_steps(lengths, when)
    if not len(fast):
        return _spread(lengths, known, len(latitude)), None, []
    bad, faults = _jumps(where, when, fast)
    kept = known[~bad]
    lengths = haversine_m(latitude[kept], longitude[kept])
    lengths[fast_steps(lengths, seconds[kept])] = 0.0
    flags = np.zeros(len(latitude), dtype=np.bool_)
    flags[known[bad]] = True
    return _spread(lengths, kept, len(latitude)), flags, faults


def _spread(lengths: Samples, known: Indices, count: int) -> Samples:
    """Lengths between known positions as legs that end at them."""
    if len(known) == count:
        return lengths
    legs = np.zeros(count - 1)
    legs[known[1:] - 1] = lengths
    return legs


def _jumps(where: tuple[Samples, Samples], when: Samples, fast: Indices) -> tuple[Flags, list[Fault]]:
    """Which positions were reached, and left again, faster than anybody can be; ``fast``: the steps that are."""
    # Out by one step and back by the next fast one: is the straight way between the two ends possible?
    out, back = fast[:-1], fast[1:] + 1
    pairs = (np.stack((part[out], part[back])) for part in where)
    possible = ~_too_fast(_between(*pairs), when[back] - when[out]) & (when[back] - when[out] <= AWAY_S)
    bad = np.zeros(len(when), dtype=np.bool_)
    faults = []
    place = 0
    while place < len(fast):
        start, end = int(fast[place]), int(fast[place]) + 1
        if place < len(possible) and possible[place]:
            end = int(back[place])
            bad[start + 1 : end] = True
            place += 1
        place += 1
        faults.append(Fault("jump", "position", float(when[start]), float(when[end]), end - start - 1))
    return bad, faults


def fast_steps(lengths: Samples, seconds: Samples) -> Indices:
    """Indices of the steps of ``lengths`` metres that cannot have been done in their time."""
    if not len(lengths) or lengths.max() <= SAME_PLACE_M:
        return np.empty(0, dtype=np.intp)
    return _too_fast(lengths, np.diff(seconds)).nonzero()[0]


def _too_fast(lengths: Samples, steps: Samples) -> Flags:
    """Whether ways of ``lengths`` metres cannot have been done in ``steps`` seconds."""
    result: Flags = (lengths > FASTEST_MPS * steps) & (lengths > SAME_PLACE_M)
    return result


def _between(latitudes: Samples, longitudes: Samples) -> Samples:
    """Metres from the first to the second of each pair: shapes (2, n) in, (n,) out."""
    flat = haversine_m(latitudes.T.ravel(), longitudes.T.ravel())
    return flat[::2]
