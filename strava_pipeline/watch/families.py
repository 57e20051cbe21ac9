"""How metrics are declared: each once, with its name, kind, labels and meaning, from which its samples are made.

Labels have few values, which are all there from the start: a counter that appears with its first increase would hide
that increase from Prometheus.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate, product

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from strava_pipeline.warehouse.metric_totals import NO_BOUND, SUM

PREFIX = "strava_pipeline"
# Stands for whatever this version does not know of.
OTHER = "other"
Labels = tuple[str, ...]


class Kind(StrEnum):
    """The kinds of metrics, in Prometheus' words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Family:
    """One metric: its name without the prefix, its labels, and the values of these that are always there.

    ``told``: its meaning, in one sentence. ``bounds``: upper bounds of a histogram's buckets.
    """

    kind: Kind
    name: str
    told: str
    labels: Labels = ()
    always: tuple[Labels, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """Its name as Prometheus shows it; a histogram's without ``_bucket``, ``_sum`` and ``_count``."""
        return f"{PREFIX}_{self.name}{'_total' if self.kind is Kind.COUNTER else ''}"

    def metric(self, found: Mapping[Labels, float]) -> Metric:
        """Make a counter or gauge of the values that were found, by labels; what was not found is 0."""
        family = CounterMetricFamily if self.kind is Kind.COUNTER else GaugeMetricFamily
        made = family(f"{PREFIX}_{self.name}", self.told, labels=self.labels)
        for labels, value in self._whole(found).items():
            made.add_metric(labels, value)
        return made

    def histogram(self, found: Mapping[Labels, float]) -> Metric:
        """Make a histogram of counts and sums by labels, whose last one is the bucket's bound, or ``SUM``."""
        made = HistogramMetricFamily(f"{PREFIX}_{self.name}", self.told, labels=self.labels)
        counts = {labels: [0.0] * (len(self.bounds) + 1) for labels in self.always}
        sums = dict.fromkeys(self.always, 0.0)
        for (*given, bucket), value in found.items():
            labels = self._known(tuple(given))
            sums.setdefault(labels, 0.0)
            buckets = counts.setdefault(labels, [0.0] * (len(self.bounds) + 1))
            if bucket == SUM:
                sums[labels] += value
            else:
                # Another version's bounds may differ: what it counted is below the next one of ours.
                buckets[len(self.bounds) if bucket == NO_BOUND else bisect_left(self.bounds, float(bucket))] += value
        names = [*(str(bound) for bound in self.bounds), NO_BOUND]
        for labels, buckets in counts.items():
            made.add_metric(labels, list(zip(names, accumulate(buckets), strict=True)), sums[labels])
        return made

    def _whole(self, found: Mapping[Labels, float]) -> dict[Labels, float]:
        whole = dict.fromkeys(self.always, 0.0)
        for labels, value in found.items():
            known = self._known(labels)
            whole[known] = whole.get(known, 0.0) + value
        return whole

    def _known(self, labels: Labels) -> Labels:
        """The labels, with ``OTHER`` in place of values that are none of those that are always there."""
        if not self.always or labels in self.always:
            return labels
        known: Iterable[set[str]] = map(set, zip(*self.always, strict=True))
        return tuple(label if label in values else OTHER for label, values in zip(labels, known, strict=True))


def every(*values: Sequence[str]) -> tuple[Labels, ...]:
    """Return all combinations of the labels' values, those of each label given in turn."""
    return tuple(product(*(map(str, each) for each in values)))
