"""Means over time: each sample counts for as long as it stands."""

from __future__ import annotations

from collections.abc import Mapping

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
        # A product by BLAS would wake its threads, which takes longer than the sum.
        return float((samples * weights).sum() / total)
    return float(samples.mean()) if len(samples) else None


def sums_of(series: Mapping[str, Samples], weights: Samples) -> dict[str, tuple[Samples, Samples]]:
    """Weights of the known samples, and samples times weights, added up before each sample: shapes (n + 1,)."""
    found = {}
    all_weights = None
    for name, samples in series.items():
        known = np.isfinite(samples)
        if known.all():
            if all_weights is None:
                all_weights = running_sum(weights)
            found[name] = all_weights, running_sum(samples * weights)
        else:
            held = np.where(known, weights, 0.0)
            found[name] = running_sum(held), running_sum(np.where(known, samples, 0.0) * held)
    return found


def running_sum(values: Samples) -> Samples:
    """What is added up before each value, and after the last one: shape (n,) in, (n + 1,) out."""
    totals = np.zeros(len(values) + 1)
    np.cumsum(values, out=totals[1:])
    return totals


def means_between(sums: tuple[Samples, Samples] | None, begins: Indices, ends: Indices) -> list[float | None]:
    """Weighted means from ``begins`` up to ``ends`` (indices, shape (k,)); ``None`` where nothing is known."""
    if sums is None:
        return [None] * len(begins)
    widths = sums[0][ends] - sums[0][begins]
    totals = sums[1][ends] - sums[1][begins]
    return [total / width if width > 0 else None for total, width in zip(totals.tolist(), widths.tolist(), strict=True)]


def ratios(dividends: Samples, divisors: Samples) -> list[float | None]:
    """Quotients where both are known and the divisor is above 0, shape (k,)."""
    return [
        above / below if below > 0 and above == above else None  # noqa: PLR0124  NaN is not itself
        for above, below in zip(dividends.tolist(), divisors.tolist(), strict=True)
    ]


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
