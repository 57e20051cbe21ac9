"""What this process has counted since its start, for ``/metrics``; of several bridges, Prometheus takes the ``sum``.

Labels have few values, never an athlete, and all of them begin at 0, so that the first of a kind shows as an increase.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric

from strava_pipeline.names import Job
from strava_pipeline.warehouse.states import DeliveryOutcome, RejectReason
from strava_pipeline.watch.families import PREFIX
from webhook_bridge.delivery_slots import DeliverySlots

# Strava waits two seconds for an answer.
BUCKETS_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0)
JOBS = (
    Job.WEBHOOK_SYNC,
    Job.NEWEST_MONTH,
    Job.IMPORT_HISTORY,
    Job.ARCHIVE_IMPORT,
    Job.FILES_IMPORT,
    Job.SEND_NOTIFICATIONS,
    Job.ASSETS,
)
# Stands for all other jobs.
OTHER_JOB = "other"
RESULTS = {True: "succeeded", False: "failed"}
_CREATED = "_created"


@dataclass(frozen=True)
class Answered:
    """What became of a delivery; ``seconds``: from the whole request to its answer.

    ``reason``: why it was rejected. ``subscription_id``: the one that it is of, if it was rejected for that.
    """

    outcome: DeliveryOutcome
    seconds: float
    reason: RejectReason | None = None
    subscription_id: int | None = None


class Counters:
    """Counters in a registry of their own, and the deliveries' slots, which go into the tables."""

    def __init__(self) -> None:
        self.slots = DeliverySlots()
        # Not the library's own registry, which whatever else is in the process may use.
        self._registry = CollectorRegistry()
        self._received = self._counter("deliveries_received", "Deliveries that came to the path of the webhook.")
        accepted = self._counter("deliveries_accepted", "Deliveries answered 200, by what became of them.", "outcome")
        rejected = self._counter("deliveries_rejected", "Deliveries not answered 200, by the reason.", "reason")
        # Not "job", which Prometheus sets itself.
        launches = self._counter("launches", "Launches of runs in Dagster, by job and result.", "dagster_job", "result")
        self._acknowledgement = Histogram(
            f"{PREFIX}_acknowledgement_seconds",
            "Time from a whole delivery to its answer, of those that were valid.",
            buckets=BUCKETS_SECONDS,
            registry=self._registry,
        )
        outcomes = [outcome for outcome in DeliveryOutcome if outcome is not DeliveryOutcome.REJECTED]
        self._accepted: dict[DeliveryOutcome, Counter] = {outcome: accepted.labels(outcome) for outcome in outcomes}
        self._rejected = {reason: rejected.labels(reason) for reason in RejectReason}
        self._launches = {
            (job, is_launched): launches.labels(job, result)
            for job in (*JOBS, OTHER_JOB)
            for is_launched, result in RESULTS.items()
        }

    def received(self) -> None:
        """Count a delivery that has come."""
        self._received.inc()

    def answered(self, answered: Answered) -> None:
        """Count a delivery that has its answer."""
        if answered.reason is None:
            self._accepted[answered.outcome].inc()
        else:
            self._rejected[answered.reason].inc()
        if answered.reason in {None, RejectReason.DATABASE}:
            self._acknowledgement.observe(answered.seconds)
        reason = "" if answered.reason is None else answered.reason.value
        self.slots.add(answered.outcome, reason, answered.seconds, answered.subscription_id)

    def launched(self, job: str, is_launched: bool) -> None:
        """Count a launch of a job, and whether Dagster took it."""
        self._launches[job if job in JOBS else OTHER_JOB, is_launched].inc()

    def collect(self) -> Iterable[Metric]:
        """The counters as they are now, for a registry; without the times at which each was made."""
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith(_CREATED)]
            yield metric

    def _counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", told, labels, registry=self._registry)
