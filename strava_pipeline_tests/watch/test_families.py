"""A metric has all its labels from the start, and takes what other versions counted as well as it can."""

from __future__ import annotations

import pytest
from prometheus_client import Metric

from strava_pipeline.watch.families import Family, Kind, every

COUNTER = Family(Kind.COUNTER, "things", "Things.", ("kind", "state"), every(("a", "b"), ("on", "off")))
HISTOGRAM = Family(Kind.HISTOGRAM, "thing_seconds", "Time of things.", ("kind",), every(("a",)), (0.5, 1.0, 2.0))


def values(metric: Metric) -> dict[tuple[str, ...], float]:
    """The samples above 0 by what their names end with and the values of their labels."""
    name = metric.name
    return {
        (sample.name.removeprefix(name), *sample.labels.values()): sample.value
        for sample in metric.samples
        if sample.value
    }


def test_what_was_not_found_is_0() -> None:
    assert {sample.value for sample in COUNTER.metric({}).samples} == {0.0}
    assert len(COUNTER.metric({}).samples) == 4
    assert values(COUNTER.metric({("a", "off"): 3})) == {("_total", "a", "off"): 3}
    assert len(HISTOGRAM.histogram({}).samples) == 6


def test_labels_of_another_version_are_told_as_other() -> None:
    found = COUNTER.metric({("a", "on"): 1, ("new", "on"): 2, ("newer", "on"): 3, ("a", "broken"): 4})
    assert values(found) == {
        ("_total", "a", "on"): 1,
        ("_total", "other", "on"): 5,
        ("_total", "a", "other"): 4,
    }


def test_a_histogram_adds_up_its_buckets() -> None:
    found = HISTOGRAM.histogram({("a", "0.5"): 1, ("a", "2.0"): 2, ("a", "+Inf"): 4, ("a", "sum"): 30.5})
    assert values(found) == {
        ("_bucket", "a", "0.5"): 1,
        ("_bucket", "a", "1.0"): 1,
        ("_bucket", "a", "2.0"): 3,
        ("_bucket", "a", "+Inf"): 7,
        ("_count", "a"): 7,
        ("_sum", "a"): 30.5,
    }


def test_what_was_counted_below_another_bound_counts_below_the_next_one() -> None:
    found = values(HISTOGRAM.histogram({("a", "0.7"): 1, ("a", "5.0"): 2, ("a", "sum"): 9.0}))
    assert ("_bucket", "a", "0.5") not in found
    assert found["_bucket", "a", "1.0"] == 1
    assert found["_bucket", "a", "+Inf"] == 3


@pytest.mark.parametrize("kind", Kind)
def test_only_counters_end_with_total(kind: Kind) -> None:
    assert Family(kind, "things", "Things.").full_name.endswith("_total") == (kind is Kind.COUNTER)
