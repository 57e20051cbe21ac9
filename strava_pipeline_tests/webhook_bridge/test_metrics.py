"""The metrics of a bridge: what it counted, and what it last read; those of tables only while they are true."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.migrate import HEAD
from strava_pipeline.warehouse.states import RejectReason
from strava_pipeline_tests.webhook_bridge.dagster_stand_in import DagsterStandIn
from strava_pipeline_tests.webhook_bridge.engines import engine_away
from strava_pipeline_tests.webhook_bridge.samples import Samples, samples_from, samples_of
from webhook_bridge import background_reading
from webhook_bridge.app import create_app
from webhook_bridge.background_reading import BackgroundReading, TableMetrics
from webhook_bridge.counters import Counters
from webhook_bridge.current import bridge_of
from webhook_bridge.dispatcher import Dispatcher
from webhook_bridge.metrics import metrics_registry

DOCS = Path(__file__).parents[2] / "docs/metrics.md"
TABLES, SLOW = "some_rows", "some_athletes"


def of_tables(*_: object) -> list[Metric]:
    return [GaugeMetricFamily(f"strava_pipeline_{TABLES}", "Stands for the metrics of tables.", 7)]


def of_athletes(*_: object) -> list[Metric]:
    return [GaugeMetricFamily(f"strava_pipeline_{SLOW}", "Stands for the metrics that are read now and then.", 8)]


METRICS = TableMetrics(of_tables, of_athletes)


def text(engine: Engine, reading: BackgroundReading) -> str:
    """The metrics of a bridge with this reading and a dispatcher that was not started."""
    settings = load_settings()
    app = create_app(settings, engine, threads=[reading, Dispatcher(settings, engine)], reading=reading)
    return generate_latest(metrics_registry(bridge_of(app))).decode()


def told(engine: Engine, reading: BackgroundReading) -> Samples:
    return samples_of(text(engine, reading))


def test_everything_is_told_with_its_own_prefix_help_and_type(dagster: DagsterStandIn, engine: Engine) -> None:
    dagster.queued = 3
    reading = BackgroundReading(load_settings(), engine, METRICS)
    reading.read()
    families = list(text_string_to_metric_families(text(engine, reading)))
    assert [family.name for family in families if not family.name.startswith("strava_pipeline_")] == []
    assert [family.name for family in families if not family.documentation or family.type == "unknown"] == []
    found = told(engine, reading)
    assert reading.last is not None
    expected = {
        f"build_info{{revision={HEAD},version=0.1.0}}": 1,
        "database_up": 1,
        "dagster_reachable": 1,
        "dagster_queued_runs": 3,
        "reading_timestamp_seconds": pytest.approx(reading.last.at),
        "reading_seconds": pytest.approx(reading.last.seconds),
        "thread_running{thread=dispatcher}": 0,
        "thread_errors_total{thread=dispatcher}": 0,
        "thread_errors_total{thread=background-reading}": 0,
        "database_pool_connections{state=in_use}": 0,
        "database_pool_connections_limit": 15,
        TABLES: 7,
        SLOW: 8,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert set(samples_from(Counters())) <= set(found)


def test_no_metric_is_told_twice(dagster: DagsterStandIn, engine: Engine) -> None:
    reading = BackgroundReading(load_settings(), engine, TableMetrics())
    reading.read()
    names = [family.name for family in text_string_to_metric_families(text(engine, reading))]
    assert {"strava_pipeline_athletes", "strava_pipeline_import_months_left"} <= set(names)
    assert len(names) == len(set(names))


def test_connections_at_work_are_told(dagster: DagsterStandIn, engine: Engine) -> None:
    reading = BackgroundReading(load_settings(), engine)
    with engine.connect(), engine.connect():
        assert told(engine, reading)["database_pool_connections{state=in_use}"] == 2


def test_before_the_first_reading_nothing_is_told_of_it(dagster: DagsterStandIn, engine: Engine) -> None:
    found = told(engine, BackgroundReading(load_settings(), engine, METRICS))
    assert not {"database_up", "dagster_reachable", "reading_seconds", TABLES, SLOW} & set(found)
    assert "deliveries_received_total" in found


def test_while_the_database_is_away_its_metrics_are_left_out(dagster: DagsterStandIn) -> None:
    with engine_away() as away:
        reading = BackgroundReading(load_settings(), away, METRICS)
        reading.read()
        found = told(away, reading)
    assert (found["database_up"], found["dagster_reachable"]) == (0, 1)
    assert not {TABLES, SLOW} & set(found)
    assert "deliveries_received_total" in found


def test_while_the_reading_hangs_its_metrics_are_left_out(
    dagster: DagsterStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = BackgroundReading(load_settings(), engine, METRICS)
    reading.read()
    monkeypatch.setattr(background_reading, "FRESH_SECONDS", 0.0)
    found = told(engine, reading)
    assert found["database_up"] == 0
    assert not {TABLES, SLOW} & set(found)
    assert reading.last is not None
    assert found["reading_timestamp_seconds"] == pytest.approx(reading.last.at)


def test_while_dagster_is_away_nothing_is_told_of_its_queue(dagster: DagsterStandIn, engine: Engine) -> None:
    dagster.refusal = (502, b"")
    reading = BackgroundReading(load_settings(), engine, METRICS)
    reading.read()
    found = told(engine, reading)
    assert (found["dagster_reachable"], found["database_up"], found[TABLES]) == (0, 1, 7)
    assert "dagster_queued_runs" not in found


def test_the_docs_list_each_metric_of_the_process_and_each_reason(dagster: DagsterStandIn, engine: Engine) -> None:
    reading = BackgroundReading(load_settings(), engine)
    reading.read()
    page = DOCS.read_text(encoding="utf-8")
    names = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(text(engine, reading))
    }
    assert [name for name in sorted(names) if f"| `{name}" not in page] == []
    assert [reason for reason in RejectReason if f"| `{reason}` |" not in page] == []
