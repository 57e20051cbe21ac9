"""What power tells of an effort.

Normalized power, intensity and training stress after A. Coggan, in Allen and Coggan, "Training and Racing with a
Power Meter", 3rd ed. (2019); efficiency and decoupling after J. Friel, "The Cyclist's Training Bible" (2009).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from strava_pipeline.analysis.athlete import Athlete
from strava_pipeline.analysis.averages import mean_over, running_sum
from strava_pipeline.analysis.timeline import Timeline
from strava_pipeline.analysis.track import Samples

ROLLING_S = 30
# Two halves of less than ten minutes say nothing about endurance.
SHORTEST_DECOUPLING_S = 1_200


@dataclass(frozen=True)
class PowerFigures:
    """``None`` where power, threshold or heart rate is missing; ``training_stress`` is 100 for an hour at threshold."""

    average_power_w: float | None = None
    normalized_power_w: float | None = None
    variability: float | None = None
    intensity: float | None = None
    training_stress: float | None = None
    work_kj: float | None = None
    efficiency_w_per_bpm: float | None = None
    decoupling_percent: float | None = None


def power_figures(timeline: Timeline, athlete: Athlete) -> PowerFigures:
    """All figures of power; the mean is over moving time, as Strava's."""
    power = timeline.track.power
    if power is None or not np.isfinite(power).any():
        return PowerFigures()
    average = mean_over(power, _while_moving(timeline))
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
    """Fourth root of the mean fourth power of 30 s means, W, and the seconds it covers; missing seconds are left out.

    ``power``: W per cell of ``cell_s`` seconds, shape (n,). ``None`` for less than 30 s.
    """
    finite = np.isfinite(power)
    known = power if finite.all() else power[finite]
    fourth = _fourth_powers(known, cell_s)
    if not len(fourth):
        return None, 0.0
    return float(fourth.mean() ** 0.25), len(known) * cell_s


def _fourth_powers(power: Samples, cell_s: float) -> Samples:
    """Fourth powers of the means over 30 s, one for each window; none for less than 30 s."""
    width = max(1, int(ROLLING_S / cell_s))
    if len(power) < width:
        return np.empty(0)
    totals = running_sum(power)
    means = (totals[width:] - totals[:-width]) / width
    means *= means
    means *= means
    return means


def _while_moving(timeline: Timeline) -> Samples:
    if timeline.moving is None or timeline.seconds is None:
        return timeline.weights
    return np.asarray(timeline.weights * np.append(timeline.moving, False))


def _decoupling(timeline: Timeline, power: Samples | None) -> float | None:
    """By how many percent power per heartbeat falls from the first half to the second."""
    heart_rate = timeline.heart_rate_each_second
    if power is None or heart_rate is None:
        return None
    both = np.isfinite(power) & np.isfinite(heart_rate)
    known_power, known_rate = (power, heart_rate) if both.all() else (power[both], heart_rate[both])
    half = len(known_power) // 2
    if half * 2 * timeline.cell_s < SHORTEST_DECOUPLING_S:
        return None
    # Means over 30 s are one fewer than samples for each second but the first.
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
