"""Cleaned samples of an activity against time and distance, from which all figures are computed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from strava_pipeline.analysis.averages import cumulative_sum, cumulative_sums, weighted_mean
from strava_pipeline.analysis.cleaning import FASTEST_MPS, TrackFault, clean, impossible_steps
from strava_pipeline.analysis.moving import moving_steps
from strava_pipeline.analysis.track import Flags, Indices, Samples, Track

# A longer step between samples than GAP_S, and than GAP_STEPS usual steps, is a gap: a pause or a lost signal.
GAP_S = 30.0
GAP_STEPS = 3.0
# A longer recording gets a grid that is coarser than a second, so that each recording fits in memory.
MOST_CELLS = 200_000


@dataclass(frozen=True)
class Timeline:
    """Samples, shape (n,), and the steps between them, shape (n - 1,); ``None`` where the recording lacks the data.

    ``seconds``: since the start, ascending; ``weights``: seconds until the next sample (0 in gaps; 1 for each if there
    are no times); ``along``: metres since the start, ascending; ``legs_m``: metres between neighbouring known
    positions; ``speed``: m/s; ``gaps`` and ``moving``: one flag per step.
    """

    track: Track
    seconds: Samples | None
    weights: Samples
    gaps: Flags | None
    along: Samples | None
    legs_m: Samples | None
    speed: Samples | None
    moving: Flags | None
    faults: tuple[TrackFault, ...]

    @property
    def elapsed_s(self) -> float:
        return 0.0 if self.seconds is None else float(self.seconds[-1])

    @cached_property
    def steps(self) -> Samples | None:
        """Seconds of each step, shape (n - 1,)."""
        return None if self.seconds is None else np.diff(self.seconds)

    @cached_property
    def distance_m(self) -> Samples | None:
        """Metres from the first sample, shape (n,)."""
        return None if self.along is None else self.along - self.along[0] if len(self.along) else self.along

    @cached_property
    def moving_seconds(self) -> Samples | None:
        """Cumulative moving time, s, shape (n,)."""
        if self.moving is None or self.steps is None:
            return self.seconds
        return cumulative_sum(self.steps * self.moving)

    @property
    def moving_time_s(self) -> float | None:
        """Seconds in motion (:mod:`.moving`), or all that elapsed if nothing tells; ``None`` without times."""
        if self.moving is None or self.steps is None:
            return self.elapsed_s if self.seconds is not None else None
        return float(self.steps[self.moving].sum())

    @cached_property
    def cell_s(self) -> float:
        """Width of a cell of the grid, s: 1, more for recordings of several days."""
        return max(1.0, float(np.ceil(self.elapsed_s / MOST_CELLS)))

    @cached_property
    def cells(self) -> Samples:
        """Seconds since the start at which the cells of the grid begin, shape (m,)."""
        return np.arange(0.0, self.elapsed_s + self.cell_s / 2, self.cell_s)

    @cached_property
    def _is_on_grid(self) -> bool:
        seconds = self.seconds
        return (
            seconds is not None
            and self.cell_s == 1
            and len(seconds) == len(self.cells)
            and bool((seconds == self.cells).all())
        )

    @cached_property
    def _cell_of_sample(self) -> Indices | None:
        """The cell of each sample if there is one sample per second outside of gaps; else ``None``."""
        if self.seconds is None or self.steps is None or self.gaps is None or self.cell_s != 1:
            return None
        if not ((self.steps == 1) | self.gaps & (self.steps == np.floor(self.steps))).all():
            return None
        return self.seconds.astype(np.intp)

    @cached_property
    def _cells_in_gaps(self) -> Flags | None:
        if self.seconds is None or self.gaps is None or not self.gaps.any():
            return None
        begins, ends = self.seconds[:-1][self.gaps], self.seconds[1:][self.gaps]
        edges = np.zeros(len(self.cells) + 1)
        np.add.at(edges, np.searchsorted(self.cells, begins, side="right"), 1)
        np.add.at(edges, np.searchsorted(self.cells, ends, side="left"), -1)
        return np.cumsum(edges[:-1]) > 0

    @cached_property
    def power_each_second(self) -> Samples | None:
        """Power on the grid, W, shape (m,)."""
        return self._each_second(self.track.power)

    @cached_property
    def heart_rate_each_second(self) -> Samples | None:
        """Heart rate on the grid, bpm, shape (m,)."""
        return self._each_second(self.track.heart_rate)

    @cached_property
    def speed_each_second(self) -> Samples | None:
        """Speed on the grid, m/s, shape (m,)."""
        return self._each_second(self.speed)

    @cached_property
    def sums(self) -> dict[str, tuple[Samples, Samples]]:
        """Cumulative sums by sensor: see :func:`cumulative_sums`."""
        sensors = {"power": self.track.power, "heart_rate": self.track.heart_rate, "cadence": self.track.cadence}
        return cumulative_sums(
            {name: samples for name, samples in sensors.items() if samples is not None}, self.weights
        )

    @cached_property
    def mean_heart_rate(self) -> float | None:
        """Mean heart rate over time, bpm."""
        return self._mean("heart_rate", self.track.heart_rate)

    @property
    def mean_cadence(self) -> float | None:
        """Mean cadence over time, rpm."""
        return self._mean("cadence", self.track.cadence)

    def _mean(self, sensor: str, samples: Samples | None) -> float | None:
        """Return the mean of a sensor, from its sums where they exist: splits and climbs need the sums anyway."""
        seconds, total = (sums[-1] for sums in self.sums[sensor]) if sensor in self.sums else (0.0, 0.0)
        return float(total / seconds) if seconds > 0 else weighted_mean(samples, self.weights)

    def _each_second(self, samples: Samples | None) -> Samples | None:
        """Return a series on the grid, shape (m,): linear between samples, NaN in gaps and for missing samples."""
        if samples is None or self.seconds is None:
            return None
        if self._is_on_grid:
            return samples
        if self._cell_of_sample is not None:
            values = np.full(len(self.cells), np.nan)
            values[self._cell_of_sample] = samples
            return values
        known = np.isfinite(samples)
        if not known.any():
            return None
        if known.all():
            values = np.interp(self.cells, self.seconds, samples)
        else:
            values = np.interp(self.cells, self.seconds[known], samples[known], left=np.nan, right=np.nan)
            values[_cells_near_missing(self.cells, self.seconds[~known], self.seconds[known])] = np.nan
        if self._cells_in_gaps is not None:
            values = np.where(self._cells_in_gaps, np.nan, values)
        return values


def build_timeline(recorded: Track) -> Timeline:
    """Clean a track, and return its samples against time and distance."""
    cleaned = clean(recorded)
    track, seconds, legs, faults = cleaned.track, cleaned.seconds, cleaned.legs_m, cleaned.faults
    gaps = None
    weights = np.ones(track.point_count)
    if seconds is not None and len(seconds) > 1 and seconds[-1] > 0:
        steps = seconds[1:] - seconds[:-1]
        gaps = _gaps(steps)
        places = gaps.nonzero()[0]
        weights[:-1] = steps
        weights[places] = weights[-1] = 0.0
        faults += [TrackFault("gap", "all", float(seconds[place]), float(seconds[place + 1]), 0) for place in places]
    along, more = _along(track, seconds, legs)
    speed = _speed(track, seconds, along)
    return Timeline(
        track=track,
        seconds=seconds,
        weights=weights,
        gaps=gaps,
        along=along,
        legs_m=legs,
        speed=speed,
        moving=moving_steps(track, seconds, speed, along, gaps),
        faults=(*faults, *more),
    )


def _gaps(steps: Samples) -> Flags:
    """Return which steps are longer than :data:`GAP_S` and than :data:`GAP_STEPS` usual steps."""
    gaps: Flags = steps > GAP_S
    # If most steps are short, the slow median is not needed.
    if gaps.any() and 2 * np.count_nonzero(steps <= GAP_S / GAP_STEPS) <= len(steps):
        gaps &= steps > GAP_STEPS * float(np.median(steps))
    return gaps


def _cells_near_missing(cells: Samples, missing: Samples, known: Samples) -> Flags:
    """Return which cells lie between two known samples with a missing sample between them."""
    flags = np.zeros(len(cells), dtype=np.bool_)
    after = np.searchsorted(known, missing)
    begins = known[np.maximum(after - 1, 0)]
    ends = known[np.minimum(after, len(known) - 1)]
    edges = np.zeros(len(cells) + 1)
    np.add.at(edges, np.searchsorted(cells, begins, side="right"), 1)
    np.add.at(edges, np.maximum(np.searchsorted(cells, ends, side="left"), np.searchsorted(cells, begins, "right")), -1)
    flags[:] = np.cumsum(edges[:-1]) > 0
    return flags


def _along(track: Track, seconds: Samples | None, legs: Samples | None) -> tuple[Samples | None, list[TrackFault]]:
    """Return the device's distance without jumps, else the distance along the positions, and the jumps as faults."""
    distance = track.distance
    if distance is None or not np.isfinite(distance).any():
        return (None if legs is None else cumulative_sum(legs)), []
    if np.isnan(distance).any():
        known = np.flatnonzero(np.isfinite(distance))
        distance = np.interp(np.arange(len(distance)), known, distance[known])
    strides = distance[1:] - distance[:-1]
    if len(strides) and strides.min() < 0:
        distance = np.maximum.accumulate(distance)
        strides = distance[1:] - distance[:-1]
    if seconds is None:
        return distance, []
    jumps = impossible_steps(strides, seconds)
    if not len(jumps):
        return distance, []
    faults = [TrackFault("jump", "distance", float(seconds[place]), float(seconds[place + 1]), 1) for place in jumps]
    strides[jumps] = 0.0
    return distance[0] + cumulative_sum(strides), faults


def _speed(track: Track, seconds: Samples | None, along: Samples | None) -> Samples | None:
    """Return the recorded speed, else the speed from distance and time, m/s."""
    if track.speed is not None and np.isfinite(track.speed).any():
        return track.speed
    if along is None or seconds is None or len(along) < 2:  # noqa: PLR2004  a step takes two samples
        return None
    steps = seconds[1:] - seconds[:-1]
    speed = np.full(len(seconds), np.nan)
    # A step without time gives infinity or NaN, which is removed below: a mask would take longer than all divisions.
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(along[1:] - along[:-1], steps, out=speed[1:])
    speed[~(speed <= FASTEST_MPS)] = np.nan
    return speed
