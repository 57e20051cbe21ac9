"""Training impulse and stress from the heart rate."""

from __future__ import annotations

import numpy as np

from strava_pipeline.analysis.athlete import Athlete
from strava_pipeline.analysis.timeline import Timeline
from strava_pipeline.analysis.track import Samples

# Banister: factor and exponent, keyed by "is female".
_WEIGHTS = {False: (0.64, 1.92), True: (0.86, 1.67)}


def training_impulse(timeline: Timeline, athlete: Athlete) -> float | None:
    """Return the training impulse (TRIMP): minutes weighted by the used share of the heart rate reserve.

    Returns ``None`` without heart rate or times.

    Source: E. W. Banister, "Modeling elite athletic performance", in: Physiological Testing of Elite Athletes
    (1991); exponents for men and women as given by Morton, Fitz-Clarke and Banister, J. Appl. Physiol. 69 (1990).
    """
    heart_rate = timeline.track.heart_rate
    if heart_rate is None or timeline.seconds is None or athlete.highest_bpm <= athlete.resting_bpm:
        return None
    known, weights = np.isfinite(heart_rate), timeline.weights
    if not known.any():
        return None
    if not known.all():
        heart_rate, weights = heart_rate[known], weights[known]
    return float((_per_minute(heart_rate, athlete) * weights).sum() / 60)


def heart_rate_stress(impulse: float | None, athlete: Athlete) -> float | None:
    """Return TRIMP on the scale of training stress: 100 for an hour at the threshold heart rate."""
    if impulse is None:
        return None
    hour = 60 * float(_per_minute(np.array([athlete.threshold_bpm]), athlete)[0])
    return 100 * impulse / hour if hour > 0 else None


def _per_minute(heart_rate: Samples, athlete: Athlete) -> Samples:
    reserve = np.clip((heart_rate - athlete.resting_bpm) / (athlete.highest_bpm - athlete.resting_bpm), 0, 1)
    factor, exponent = _WEIGHTS[athlete.female]
    return np.asarray(reserve * factor * np.exp(exponent * reserve))
