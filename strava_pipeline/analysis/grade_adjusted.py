"""Grade-adjusted distance of a run: the distance on the flat that costs as much energy."""

from __future__ import annotations

import numpy as np

from strava_pipeline.analysis.averages import cumulative_sum
from strava_pipeline.analysis.elevation import Profile
from strava_pipeline.analysis.track import Samples

# Minetti et al. measured from -45 to +45 %.
STEEPEST = 0.45
_COST = (155.4, -30.4, -43.3, 46.3, 19.5, 3.6)
FLAT_COST = _COST[-1]


def running_cost(grade: Samples) -> Samples:
    """Return the energy cost of running, J per kg and m, by grade (a fraction, clipped to the measured range).

    Source: A. E. Minetti et al., "Energy cost of walking and running at extreme uphill and downhill slopes",
    J. Appl. Physiol. 93 (2002), 1039-1046.
    """
    clipped = np.clip(grade, -STEEPEST, STEEPEST)
    cost = np.full_like(clipped, _COST[0])
    for coefficient in _COST[1:]:
        cost = cost * clipped + coefficient
    return cost


def grade_adjusted_m(profile: Profile) -> Samples:
    """Return the cumulative grade-adjusted distance along the profile, m, shape (n,)."""
    factors = running_cost(profile.grades) / FLAT_COST
    return cumulative_sum((factors[1:] + factors[:-1]) / 2 * profile.step_m)
