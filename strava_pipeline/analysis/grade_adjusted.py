"""What a way uphill or downhill is worth on the flat (running)."""

from __future__ import annotations

import numpy as np

from strava_pipeline.analysis.averages import running_sum
from strava_pipeline.analysis.elevation import Profile
from strava_pipeline.analysis.track import Samples

# Minetti et al. measured from -45 to +45 %.
STEEPEST = 0.45
_COST = (155.4, -30.4, -43.3, 46.3, 19.5, 3.6)
FLAT_COST = _COST[-1]


def running_cost(grade: Samples) -> Samples:
    """Energy cost of running, J per kg and m, by grade as a fraction, held within the measured range.

    Source: A. E. Minetti et al., "Energy cost of walking and running at extreme uphill and downhill slopes",
    J. Appl. Physiol. 93 (2002), 1039-1046.
    """
    held = np.clip(grade, -STEEPEST, STEEPEST)
    cost = np.full_like(held, _COST[0])
    for coefficient in _COST[1:]:
        cost = cost * held + coefficient
    return cost


def flat_metres(profile: Profile) -> Samples:
    """Metres on the flat that cost as much as the way so far, shape (n,) along the profile."""
    factors = running_cost(profile.grades) / FLAT_COST
    return running_sum((factors[1:] + factors[:-1]) / 2 * profile.step_m)
