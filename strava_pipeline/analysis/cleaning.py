"""Cleaning of a recording: faulty samples are replaced by NaN, and each fault is listed.

Faults are implausible values, jumps of the position, and sensors stuck at one value.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from strava_pipeline.analysis.geo import haversine_m, known_positions, select
from strava_pipeline.analysis.track import Flags, Indices, Samples, Track

# No athlete and no place on Earth has values outside these ranges; no activity is longer than a year.
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
# A device may report two positions this near to each other within one second.
SAME_PLACE_M = 50.0
# A wrong position returns to the track within this time; if it stays away longer, the athlete was there.
AWAY_S = 300.0
# A working sensor changes its value within this time; only 0 (coasting) may last longer.
STUCK_S = 300.0
# How many samples in each STUCK_S are compared before all of them are.
STUCK_CHECKS = 4
STUCK_SENSORS = ("heart_rate", "power", "cadence")


@dataclass(frozen=True)
class TrackFault:
    """A fault of a recording: ``kind`` is implausible, jump, stuck or gap; ``series`` is the faulty stream.

    ``start_s`` and ``end_s`` are seconds since the first sample (0 where the recording has no times); ``samples`` is
    the number of samples that were removed.
    """

    kind: str
    series: str
    start_s: float
    end_s: float
    samples: int


@dataclass(frozen=True)
class Cleaned:
    """A cleaned track, its ``seconds`` since the start, shape (n,), and the faults that were found.

    ``legs_m``: metres from each sample to the next, shape (n - 1,); 0 where a position is missing or jumps.
    """

    track: Track
    seconds: Samples | None
    legs_m: Samples | None
    faults: list[TrackFault]


def elapsed_seconds(time: Samples | None) -> Samples | None:
    """Return the seconds since the first sample, shape (n,), or ``None`` if no time is known.

    A step back in time counts as no step; missing times are interpolated.
    """
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
    """Return the track with NaN for each faulty sample; shorter series are padded with NaN to the longest one."""
    count = track.point_count
    series: dict[str, Samples] = {}
    faults: list[TrackFault] = []
    for name, samples in vars(track).items():
        if samples is not None:
            series[name], found = _remove_implausible(name, _padded(samples, count))
            faults += found
    seconds = elapsed_seconds(series.get("time"))
    sensors = [name for name in STUCK_SENSORS if name in series]
    if seconds is not None and sensors:
        looks = np.searchsorted(seconds, np.arange(0.0, seconds[-1], STUCK_S / STUCK_CHECKS))
        for name in sensors:
            if _may_be_stuck(series[name][looks]):
                series[name], found = _remove_stuck(name, series[name], seconds)
                faults += found
    legs = None
    if "latitude" in series and "longitude" in series:
        legs, bad, found = _leg_lengths(series["latitude"], series["longitude"], seconds)
        faults += found
        if bad is not None:
            series |= {name: np.where(bad, np.nan, series[name]) for name in ("latitude", "longitude")}
    return Cleaned(replace(track, **series), seconds, legs, faults)


def _padded(samples: Samples, count: int) -> Samples:
    if len(samples) == count:
        return samples
    return np.concatenate((samples, np.full(count - len(samples), np.nan)))


def _remove_implausible(name: str, samples: Samples) -> tuple[Samples, list[TrackFault]]:
    low, high = PLAUSIBLE[name]
    # Comparisons with NaN are false: a series with missing samples goes the longer way below.
    if len(samples) and samples.min() >= low and samples.max() <= high:
        return samples, []
    bad = ((samples < low) | (samples > high)) & ~np.isnan(samples)
    count = int(np.count_nonzero(bad))
    if not count:
        return samples, []
    return np.where(bad, np.nan, samples), [TrackFault("implausible", name, 0.0, 0.0, count)]


def _may_be_stuck(looks: Samples) -> bool:
    """Whether ``STUCK_CHECKS`` samples in a row are equal and above 0, which is rare for a working sensor."""
    same = (looks[1:] == looks[:-1]) & (looks[1:] > 0)
    return bool((same[2:] & same[1:-1] & same[:-2]).any())


def _remove_stuck(name: str, samples: Samples, seconds: Samples) -> tuple[Samples, list[TrackFault]]:
    """Replace by NaN each run of one value above 0 that lasts :data:`STUCK_S` or longer."""
    ends = np.append((samples[1:] != samples[:-1]).nonzero()[0], len(samples) - 1)
    begins = np.append(0, ends[:-1] + 1)
    stuck = (seconds[ends] - seconds[begins] >= STUCK_S) & (samples[ends] > 0)
    if not stuck.any():
        return samples, []
    cleaned = samples.copy()
    faults = []
    for begin, end in zip(begins[stuck], ends[stuck], strict=True):
        cleaned[begin : end + 1] = np.nan
        faults.append(TrackFault("stuck", name, float(seconds[begin]), float(seconds[end]), int(end - begin + 1)))
    return cleaned, faults


def _leg_lengths(
    latitude: Samples, longitude: Samples, seconds: Samples | None
) -> tuple[Samples | None, Flags | None, list[TrackFault]]:
    """Return the metres from each sample to the next, which positions are wrong, and the jumps as faults."""
    known = known_positions(latitude, longitude)
    if not len(known):
        return None, None, []
    where = (select(latitude, known), select(longitude, known))
    lengths = haversine_m(*where)
    if seconds is None:
        return _legs_of_all(lengths, known, len(latitude)), None, []
    when = select(seconds, known)
    fast = impossible_steps(lengths, when)
    if not len(fast):
        return _legs_of_all(lengths, known, len(latitude)), None, []
    bad, faults = _find_jumps(where, when, fast)
    kept = known[~bad]
    lengths = haversine_m(latitude[kept], longitude[kept])
    lengths[impossible_steps(lengths, seconds[kept])] = 0.0
    flags = np.zeros(len(latitude), dtype=np.bool_)
    flags[known[bad]] = True
    return _legs_of_all(lengths, kept, len(latitude)), flags, faults


def _legs_of_all(lengths: Samples, known: Indices, count: int) -> Samples:
    """Return legs of all ``count`` samples from the lengths between the known ones; each leg ends at a known one."""
    if len(known) == count:
        return lengths
    legs = np.zeros(count - 1)
    legs[known[1:] - 1] = lengths
    return legs


def _find_jumps(where: tuple[Samples, Samples], when: Samples, fast: Indices) -> tuple[Flags, list[TrackFault]]:
    """Return which positions are wrong, and the jumps as faults; ``fast``: indices of the impossible steps."""
    # A jump leads away by one fast step and back by the next: can the distance between both ends have been covered?
    out, back = fast[:-1], fast[1:] + 1
    pairs = (np.stack((part[out], part[back])) for part in where)
    possible = ~_too_fast(_pair_distances(*pairs), when[back] - when[out]) & (when[back] - when[out] <= AWAY_S)
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
        faults.append(TrackFault("jump", "position", float(when[start]), float(when[end]), end - start - 1))
    return bad, faults


def impossible_steps(lengths: Samples, seconds: Samples) -> Indices:
    """Return the indices of steps whose ``lengths``, m, cannot have been covered in their time.

    Shapes: ``lengths`` (n - 1,), ``seconds`` (n,).
    """
    if not len(lengths) or lengths.max() <= SAME_PLACE_M:
        return np.empty(0, dtype=np.intp)
    return _too_fast(lengths, np.diff(seconds)).nonzero()[0]


def _too_fast(lengths: Samples, steps: Samples) -> Flags:
    """Whether ``lengths``, m, cannot have been covered in ``steps`` seconds."""
    result: Flags = (lengths > FASTEST_MPS * steps) & (lengths > SAME_PLACE_M)
    return result


def _pair_distances(latitudes: Samples, longitudes: Samples) -> Samples:
    """Return the metres from the first to the second position of each pair: shapes (2, n) in, (n,) out."""
    flat = haversine_m(latitudes.T.ravel(), longitudes.T.ravel())
    return flat[::2]
