"""Figures of power: normalized power, training stress, efficiency, decoupling.

Normalized power, intensity and training stress after A. Coggan, in Allen and Coggan, "Training and Racing with a
Power Meter", 3rd ed. (2019); efficiency and decoupling after J. Friel, "The Cyclist's Training Bible" (2009).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strava_pipeline.analysis.athlete import Athlete
from strava_pipeline.analysis.averages import cumulative_sum, weighted_mean
from strava_pipeline.analysis.timeline import Timeline
from strava_pipeline.analysis.track import Samples

ROLLING_S = 30
# Halves of less than ten minutes show nothing about endurance.
SHORTEST_DECOUPLING_S = 1_200


@dataclass(frozen=True)
class PowerFigures:
    """Figures of power; ``None`` where power, threshold or heart rate is missing. Units are in the names.

    ``training_stress``: 100 for an hour at threshold.
    """

    average_power_w: float | None = None
    normalized_power_w: float | None = None
    variability: float | None = None
    intensity: float | None = None
    training_stress: float | None = None
    work_kj: float | None = None
    efficiency_w_per_bpm: float | None = None
    decoupling_percent: float | None = None


def power_figures(timeline: Timeline, athlete: Athlete) -> PowerFigures:
    """Return all figures of power; the average is over moving time, as at Strava."""
    power = timeline.track.power
    if power is None or not np.isfinite(power).any():
        return PowerFigures()
    average = weighted_mean(power, _while_moving(timeline))
    work = float(timeline.sums["power"][1][-1]) / 1000 if timeline.seconds is not None else None
    each = timeline.power_each_second
    normalized, seconds = (None, 0.0) if each is None else normalized_power(each, timeline.cell_s)
    intensity = normalized / athlete.ftp_w if normalized is not None and athlete.ftp_w else None
    heart_rate = timeline.mean_heart_rate
    return PowerFigures(
        average_power_w=average,
        normalized_power_w=normalized,
        variability=normalized / average if normalized is not None and average else None,
        intensity=intensity,
        training_stress=None if intensity is None else 100 * intensity**2 * seconds / 3600,
        work_kj=work,
        efficiency_w_per_bpm=normalized / heart_rate if normalized is not None and heart_rate else None,
        decoupling_percent=_decoupling(timeline, each),
    )


def normalized_power(power: Samples, cell_s: float) -> tuple[float | None, float]:
    """Return normalized power, W (``None`` for less than 30 s), and the seconds it covers.

    It is the fourth root of the mean of the fourth powers of 30 s means. ``power``: W per cell of ``cell_s`` seconds,
    shape (n,); missing seconds are left out.
    """
    finite = np.isfinite(power)
    known = power if finite.all() else power[finite]
    fourth = _fourth_powers(known, cell_s)
    if not len(fourth):
        return None, 0.0
    return float(fourth.mean() ** 0.25), len(known) * cell_s


def _fourth_powers(power: Samples, cell_s: float) -> Samples:
    """Return the fourth power of the mean of each window of 30 s; empty for less than 30 s."""
    width = max(1, int(ROLLING_S / cell_s))
    if len(power) < width:
        return np.empty(0)
    totals = cumulative_sum(power)
    means = (totals[width:] - totals[:-width]) / width
    means *= means
    means *= means
    return means


def _while_moving(timeline: Timeline) -> Samples:
    if timeline.moving is None or timeline.seconds is None:
        return timeline.weights
    return np.asarray(timeline.weights * np.append(timeline.moving, False))


def _decoupling(timeline: Timeline, power: Samples | None) -> float | None:
    """Return by how many percent the ratio of power to heart rate falls from the first half to the second."""
    heart_rate = timeline.heart_rate_each_second
    if power is None or heart_rate is None:
        return None
    both = np.isfinite(power) & np.isfinite(heart_rate)
    known_power, known_rate = (power, heart_rate) if both.all() else (power[both], heart_rate[both])
    half = len(known_power) // 2
    if half * 2 * timeline.cell_s < SHORTEST_DECOUPLING_S:
        return None
    # There are fewer windows than samples: the first half starts with the seconds of the first window.
    fourth = _fourth_powers(known_power, timeline.cell_s)
    skipped = len(known_power) - len(fourth)
    ratios = [
        float(part.mean()) ** 0.25 / float(rate.mean())
        for part, rate in (
            (fourth[: half - skipped], known_rate[:half]),
            (fourth[half:], known_rate[half:]),
        )
    ]
    return 100 * (1 - ratios[1] / ratios[0]) if ratios[0] > 0 else None
