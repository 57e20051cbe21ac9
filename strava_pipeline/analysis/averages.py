"""Means over time: each sample counts for as long as it stands."""

from __future__ import annotations

import numpy as np

from strava_pipeline.analysis.track import Indices, Samples


def mean_over(samples: Samples | None, weights: Samples) -> float | None:
    """Mean of the known samples, weighted; all count alike when no weight is above 0."""
    if samples is None:
        return None
    known = np.isfinite(samples)
    if not known.all():
        if not known.any():
            return None
        samples, weights = samples[known], weights[known]
    total = float(weights.sum())
    if total > 0:
        return float(samples @ weights / total)
    return float(samples.mean()) if len(samples) else None


def means_between(samples: Samples | None, weights: Samples, begins: Indices, ends: Indices) -> Samples:
    """Weighted means of the samples from ``begins`` up to ``ends`` (indices, shape (k,)); NaN where none is known."""
    if samples is None:
        return np.full(len(begins), np.nan)
    known = np.isfinite(samples)
    counted = np.where(known, weights, 0.0)
    totals = np.concatenate(([0.0], np.cumsum(counted)))
    sums = np.concatenate(([0.0], np.cumsum(np.where(known, samples, 0.0) * counted)))
    width = totals[ends] - totals[begins]
    return np.asarray(np.divide(sums[ends] - sums[begins], width, out=np.full(len(begins), np.nan), where=width > 0))


def highest(samples: Samples | None) -> float | None:
    """The highest known sample."""
    if samples is None:
        return None
    found = np.fmax.reduce(samples, initial=-np.inf)
    return float(found) if np.isfinite(found) else None


def lowest(samples: Samples | None) -> float | None:
    """The lowest known sample."""
    if samples is None:
        return None
    found = np.fmin.reduce(samples, initial=np.inf)
    return float(found) if np.isfinite(found) else None


def number(value: float) -> float | None:
    """A float that may be NaN or infinite, as a number or ``None``."""
    return float(value) if np.isfinite(value) else None
