"""Means over time, in which each sample is weighted by its duration. NaN means that a sample is missing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from strava_pipeline.analysis.track import Indices, Samples


def weighted_mean(samples: Samples | None, weights: Samples) -> float | None:
    """Return the weighted mean of the known samples; the plain mean if no weight is above 0.

    Returns ``None`` if no sample is known.
    """
    if samples is None:
        return None
    known = np.isfinite(samples)
    if not known.all():
        if not known.any():
            return None
        samples, weights = samples[known], weights[known]
    total = float(weights.sum())
    if total > 0:
        # A dot product would start the threads of BLAS, which takes longer than this sum.
        return float((samples * weights).sum() / total)
    return float(samples.mean()) if len(samples) else None


def cumulative_sums(series: Mapping[str, Samples], weights: Samples) -> dict[str, tuple[Samples, Samples]]:
    """Return for each series the cumulative sums of its weights and of weight times sample, of shape (n + 1,) each.

    Missing samples add nothing to either sum.
    """
    found = {}
    all_weights = None
    for name, samples in series.items():
        known = np.isfinite(samples)
        if known.all():
            if all_weights is None:
                all_weights = cumulative_sum(weights)
            found[name] = all_weights, cumulative_sum(samples * weights)
        else:
            known_weights = np.where(known, weights, 0.0)
            found[name] = cumulative_sum(known_weights), cumulative_sum(np.where(known, samples, 0.0) * known_weights)
    return found


def cumulative_sum(values: Samples) -> Samples:
    """Return the cumulative sum, which starts with 0: shape (n,) in, (n + 1,) out."""
    totals = np.zeros(len(values) + 1)
    np.cumsum(values, out=totals[1:])
    return totals


def means_between(sums: tuple[Samples, Samples] | None, begins: Indices, ends: Indices) -> list[float | None]:
    """Return the weighted mean of each range ``[begin, end)`` of indices, shapes (k,); ``None`` where all is missing.

    ``sums``: one element of :func:`cumulative_sums`.
    """
    if sums is None:
        return [None] * len(begins)
    widths = sums[0][ends] - sums[0][begins]
    totals = sums[1][ends] - sums[1][begins]
    return [total / width if width > 0 else None for total, width in zip(totals.tolist(), widths.tolist(), strict=True)]


def ratios(dividends: Samples, divisors: Samples) -> list[float | None]:
    """Return the quotients, shape (k,); ``None`` where a number is missing or the divisor is not above 0."""
    return [
        above / below if below > 0 and above == above else None  # noqa: PLR0124  NaN is not itself
        for above, below in zip(dividends.tolist(), divisors.tolist(), strict=True)
    ]


def highest(samples: Samples | None) -> float | None:
    """Return the highest known sample, or ``None``."""
    if samples is None:
        return None
    found = np.fmax.reduce(samples, initial=-np.inf)
    return float(found) if np.isfinite(found) else None


def lowest(samples: Samples | None) -> float | None:
    """Return the lowest known sample, or ``None``."""
    if samples is None:
        return None
    found = np.fmin.reduce(samples, initial=np.inf)
    return float(found) if np.isfinite(found) else None


def finite_or_none(value: float) -> float | None:
    """Return ``value`` if it is finite, else ``None``."""
    return float(value) if np.isfinite(value) else None
