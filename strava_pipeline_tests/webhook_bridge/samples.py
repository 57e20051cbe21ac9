"""What Prometheus would read."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

Samples = dict[str, float]


def samples_of(text: str) -> Samples:
    """The samples of a text, each by its name without our prefix, and its labels: ``launches_total{result=...}``."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            name = sample.name.removeprefix("strava_pipeline_")
            found[f"{name}{{{labels}}}" if labels else name] = sample.value
    return found


def samples_from(collector: Collector) -> Samples:
    """The samples that a collector tells now."""
    registry = CollectorRegistry()
    registry.register(collector)
    return samples_of(generate_latest(registry).decode())
