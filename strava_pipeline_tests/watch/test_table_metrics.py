"""What the tables tell Prometheus: every label is there from the start, nobody is named, and no counter ever falls."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, insert

from strava_pipeline.keyring import Keyring
from strava_pipeline.settings import QuotaScope, Settings
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.strava.quota.windows import CallOutcome, Lane
from strava_pipeline.warehouse.metric_totals import PeriodicJob, note_success
from strava_pipeline.warehouse.quota.ledger import PostgresLedger
from strava_pipeline.warehouse.record_lives import remove_done_events, remove_old_audits, remove_old_records
from strava_pipeline.warehouse.schema.alert_tables import alerts
from strava_pipeline.warehouse.schema.check_tables import month_checks
from strava_pipeline.warehouse.schema.grant_tables import token_audit, users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.quota_tables import api_calls, app_status, outages
from strava_pipeline.warehouse.states import HISTORY_STEPS, ImportStep
from strava_pipeline.warehouse.watch.totals import add_finished
from strava_pipeline.watch.families import PREFIX, Kind
from strava_pipeline.watch.rules import RULES
from strava_pipeline.watch.table_families import QUICK, SLOW, UPKEEP_SHARE
from strava_pipeline.watch.table_metrics import slow_table_metrics, table_metrics
from strava_pipeline_tests.wishes import wish_for

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
RIDER = 1001
Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]


class Given:
    """A collector of metrics that were read before."""

    def __init__(self, metrics: list[Metric]) -> None:
        self.metrics = metrics

    def collect(self) -> list[Metric]:
        return self.metrics


def read(engine: Engine, settings: Settings) -> list[Metric]:
    with engine.connect() as connection:
        return [*table_metrics(connection, settings), *slow_table_metrics(connection, settings)]


def scrape(engine: Engine, settings: Settings) -> Samples:
    """All samples, as Prometheus reads them from the page."""
    registry = CollectorRegistry()
    registry.register(Given(read(engine, settings)))
    page = generate_latest(registry).decode()
    return {
        (sample.name.removeprefix(f"{PREFIX}_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def of(samples: Samples, name: str) -> dict[tuple[str, ...], float]:
    """The samples of one name by the values of their labels, in the order of the labels' names; those above 0."""
    return {tuple(value for _, value in labels): n for (each, labels), n in samples.items() if each == name and n}


def put(engine: Engine, table: Any, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(insert(table).values(values))


def put_event(engine: Engine, key: str, **more: Any) -> None:
    told = {"event_key": key, "source": "webhook", "subscription_id": 1, "object_type": "activity", "object_id": 1}
    about = {"aspect_type": "update", "owner_id": RIDER, "updates": {}, "signed": True, "event_time": NOW}
    put(engine, webhook_events, **(told | about | {"state": "received"} | more))


def put_call(engine: Engine, at: datetime, **more: Any) -> None:
    ended = {"settled_at": at, "status": 200, "duration_ms": 80.0}
    put(engine, api_calls, **({"lane": "live", "endpoint": "/athlete", "reserved_at": at} | ended | more))


def test_an_empty_database_has_every_metric_but_moments(engine: Engine, settings: Settings) -> None:
    found = {metric.name: metric for metric in read(engine, settings)}
    assert set(found) == {f"{PREFIX}_{family.name}" for family in (*QUICK, *SLOW)}
    for family in (*QUICK, *SLOW):
        metric = found[f"{PREFIX}_{family.name}"]
        assert metric.type == family.kind
        assert metric.documentation == family.told
        is_moment = family.name.endswith("timestamp_seconds")
        assert metric.samples or is_moment, family.name
        if not (is_moment or "window" in family.labels or family is UPKEEP_SHARE):
            assert {sample.value for sample in metric.samples} == {0.0}, family.name
        assert {tuple(sample.labels) for sample in metric.samples} <= {family.labels, (*family.labels, "le")}


def test_names_say_what_is_counted_and_in_which_unit() -> None:
    for family in (*QUICK, *SLOW):
        assert family.told.endswith(".")
        assert family.full_name.endswith("_total") == (family.kind is Kind.COUNTER)
        assert family.full_name.endswith("_seconds") == (family.kind is Kind.HISTOGRAM or "timestamp" in family.name), (
            family.name
        )
        assert not {"athlete", "athlete_id", "activity", "object_id"} & set(family.labels)


def test_what_has_ended_is_told_by_kind(engine: Engine, settings: Settings) -> None:
    put_call(engine, NOW)
    put_call(engine, NOW, status=503, lane="backfill", endpoint="/activities/{id}")
    put_call(engine, NOW, endpoint="/something/new")
    put(engine, token_audit, operation="refresh", outcome="failed")
    put(engine, token_audit, operation="revoke", outcome="ended before")
    put_event(engine, "a", state="done", received_at=NOW - timedelta(seconds=3), finished_at=NOW)
    put_event(engine, "b", state="done", source="reconcile", finished_at=NOW)
    add_finished(engine)
    samples = scrape(engine, settings)
    assert of(samples, "api_calls_total") == {
        ("/athlete", "live", "ok"): 1,
        ("/activities/{id}", "backfill", "server_error"): 1,
        ("other", "live", "ok"): 1,
    }
    assert of(samples, "token_operations_total") == {("refresh", "failed"): 1, ("revoke", "ended before"): 1}
    assert of(samples, "events_total") == {("done", "webhook"): 1, ("done", "reconcile"): 1}
    assert of(samples, "receipt_to_done_seconds_count") == {("webhook",): 1, ("reconcile",): 1}
    assert of(samples, "receipt_to_done_seconds_sum")["webhook",] == pytest.approx(3)
    buckets = of(samples, "api_call_seconds_bucket")
    assert ("/athlete", "0.05") not in buckets
    assert buckets["/athlete", "0.1"] == buckets["/athlete", "30.0"] == buckets["/athlete", "+Inf"] == 1
    assert of(samples, "api_call_seconds_sum")["/athlete",] == pytest.approx(0.08)


def test_no_counter_falls_when_rows_are_deleted(engine: Engine, settings: Settings) -> None:
    long_ago = NOW - 500 * DAY
    for at in (long_ago, NOW):
        put_call(engine, at)
        put(engine, token_audit, operation="refresh", outcome="ok", at=at)
        put_event(engine, str(at), state="done", received_at=at, finished_at=at)
    add_finished(engine)
    before = scrape(engine, settings)
    put_call(engine, long_ago)  # not added so far
    removed = remove_old_records(engine) | remove_old_audits(engine, DAY) | remove_done_events(engine, DAY)
    assert removed == {"ops.api_calls": 2, "ops.token_audit": 1, "ops.webhook_events": 1}
    after = scrape(engine, settings)
    ends = ("_total", "_bucket", "_count", "_sum")
    assert {key for key, value in before.items() if key[0].endswith(ends) and after[key] < value} == set()
    assert of(after, "api_calls_total") == {("/athlete", "live", "ok"): 3}


def test_the_inbox_is_told_by_state_and_wait(engine: Engine, settings: Settings) -> None:
    put_event(engine, "1", received_at=NOW - timedelta(minutes=5))
    put_event(engine, "2", state="waiting", waiting_for="quota", not_before=NOW + timedelta(hours=1))
    put_event(engine, "3", state="dead", error_class="permanent")
    put_event(engine, "4", state="dead", error_class="transient")
    put_event(engine, "5", state="parked")
    put_event(engine, "6", state="done", finished_at=NOW, received_at=NOW)
    samples = scrape(engine, settings)
    assert of(samples, "inbox_events") == {("received",): 1, ("waiting",): 1, ("dead",): 2, ("parked",): 1}
    assert of(samples, "waiting_events") == {("quota",): 1}
    assert of(samples, "inbox_dead_letters") == {("permanent",): 1, ("transient",): 1}
    assert of(samples, "oldest_open_event_timestamp_seconds")[()] == pytest.approx(NOW.timestamp() - 300)
    assert of(samples, "last_event_timestamp_seconds")[()] == pytest.approx(NOW.timestamp())


def book(ledger: PostgresLedger, lane: Lane, athlete_id: int) -> None:
    limits: Mapping[str, Any] = {"longest": timedelta(seconds=30), "max_wait": timedelta(0)}
    reservation = ledger.reserve(lane, "/athlete", athlete_id, **limits)
    ledger.settle(reservation, CallOutcome(status=200, duration_ms=5.0, answered=True))


def test_the_quota_of_the_app_is_told(engine: Engine, settings: Settings) -> None:
    ledger = PostgresLedger(engine, RateLimits.from_settings(settings))
    book(ledger, Lane.LIVE, RIDER)
    book(ledger, Lane.LIVE, 2002)
    samples = scrape(engine, settings)
    assert of(samples, "quota_limit_calls") == {("read", "short"): 100, ("read", "long"): 1000}
    assert of(samples, "quota_used_calls") == {("read", "short"): 2, ("read", "long"): 2}
    assert of(samples, "quota_scopes") == {("short",): 1, ("long",): 1}
    assert set(of(samples, "quota_reserve_calls")) == {("short",), ("long",)}
    ends = of(samples, "quota_window_end_timestamp_seconds")
    assert ends["short",] % 900 == ends["long",] % 86_400 == 0
    assert 0 < ends["short",] - datetime.now(UTC).timestamp() <= 901


def test_the_quotas_of_athletes_are_summed_and_name_nobody(engine: Engine, settings: Settings) -> None:
    each = settings.model_copy(update={"quota_scope": QuotaScope.ATHLETE})
    ledger = PostgresLedger(engine, RateLimits.from_settings(each))
    for athlete in (RIDER, 2002, 2002):
        book(ledger, Lane.LIVE, athlete)
    samples = scrape(engine, each)
    assert of(samples, "quota_limit_calls") == {("read", "short"): 200, ("read", "long"): 2000}
    assert of(samples, "quota_used_calls") == {("read", "short"): 3, ("read", "long"): 3}
    assert of(samples, "quota_scopes") == {("short",): 2, ("long",): 2}
    assert not [labels for _, labels in samples for _, value in labels if value.endswith(("1001", "2002"))]


def test_athletes_and_what_is_away_are_told(engine: Engine, settings: Settings, keyring: Keyring) -> None:
    for athlete, state in ((1, "active"), (2, "active"), (3, "needs_reauth"), (4, "revoked")):
        put(engine, users, athlete_id=athlete, scopes=[], state=state, generation=1)
    service = {"service": "oauth", "unanswered": 5, "several": True, "hosts": []}
    put(engine, outages, **service, first_sent_at=NOW, away_since=NOW)
    put(engine, app_status, id=1, inactive_since=NOW, probe_at=NOW)
    samples = scrape(engine, settings)
    assert of(samples, "athletes") == {("active",): 2, ("needs_reauth",): 1, ("revoked",): 1}
    assert of(samples, "strava_away") == {("oauth",): 1}
    assert of(samples, "strava_away_since_timestamp_seconds") == {("oauth",): pytest.approx(NOW.timestamp())}
    assert of(samples, "app_inactive") == {(): 1}
    assert of(samples, "app_inactive_since_timestamp_seconds") == {(): pytest.approx(NOW.timestamp())}


def test_alerts_that_are_on_are_told_and_all_others_are_0(engine: Engine, settings: Settings) -> None:
    alert = {"since": NOW, "changed_at": NOW, "detail": "so it is"}
    for athlete in (1, 2):
        put(engine, alerts, rule="athlete_silent", athlete_id=athlete, state="firing", fired_at=NOW, **alert)
    put(engine, alerts, rule="strava_away", athlete_id=0, state="clearing", fired_at=NOW, **alert)
    put(engine, alerts, rule="inbox_stuck", athlete_id=0, state="pending", **alert)
    samples = scrape(engine, settings)
    assert of(samples, "alert_subjects") == {("athlete_silent", "warning"): 2, ("strava_away", "critical"): 1}
    told = {dict(labels)["rule"] for name, labels in samples if name == "alert_subjects"}
    assert told == {rule.name for rule in RULES}


def test_the_last_success_of_a_job_is_told_and_never_falls(engine: Engine, settings: Settings) -> None:
    assert of(scrape(engine, settings), "last_success_timestamp_seconds") == {}
    note_success(engine, PeriodicJob.RETENTION)
    first = of(scrape(engine, settings), "last_success_timestamp_seconds")["retention",]
    assert first == pytest.approx(datetime.now(UTC).timestamp(), abs=60)
    note_success(engine, PeriodicJob.RETENTION)
    assert of(scrape(engine, settings), "last_success_timestamp_seconds")["retention",] >= first


def test_months_left_are_those_of_which_an_import_wants_what_lacks(engine: Engine, settings: Settings) -> None:
    lacking = {"twice": 0, "detail_aside": 0, "samples_aside": 0, "checked_at": NOW}
    for month, details, samples in ((5, 1, 1), (6, 0, 1), (7, 1, 0)):
        put(
            engine,
            month_checks,
            athlete_id=RIDER,
            month=date(2025, month, 1),
            lacks_detail=details,
            lacks_samples=samples,
            **lacking,
        )
    assert of(scrape(engine, settings), "import_months_left") == {}
    wish_for(engine, last=date(2025, 6, 1), steps=[ImportStep.SUMMARY, ImportStep.DETAIL])
    assert of(scrape(engine, settings), "import_months_left") == {(): 1}
    wish_for(engine, steps=HISTORY_STEPS)
    assert of(scrape(engine, settings), "import_months_left") == {(): 3}
