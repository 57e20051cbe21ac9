"""Which rules' conditions hold now: one function from what was read to what is found.

Times of day and shares are as in the rules; how long a fault has to last is multiplied by ``STRAVA_ALERT_TIME_SCALE``.
A finding's text names no time that passes and no count that rises with each look: it would change all the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from strava_pipeline.printable import printable
from strava_pipeline.settings import Settings
from strava_pipeline.strava.quota.outage import Service
from strava_pipeline.warehouse.quota.app_status import AppStatus
from strava_pipeline.warehouse.restored import unchecked_line
from strava_pipeline.warehouse.states import DeliveryOutcome
from strava_pipeline.warehouse.watch.findings import Finding
from strava_pipeline.warehouse.watch.heartbeats import Role
from strava_pipeline.warehouse.watch.situation import REFRESHES, LostGrant, Situation
from strava_pipeline.warehouse.watch.slow_situation import SlowSituation

# Athletes who withdraw by themselves do not do so together.
MANY_LOST, SOME_LOST, SHARE_LOST = 3, 2, 0.1
LOST_WITHIN = timedelta(hours=1)
# A run starts within seconds, and a queue of webhooks seldom lasts minutes.
DUE_FOR = timedelta(minutes=10)
# However times are scaled: on a busy machine a run takes its time.
AT_LEAST_DUE = timedelta(minutes=1)
# Bridges and dispatchers give a sign of life each quarter of a minute; a dispatcher that cannot reach Dagster or the
# database pauses for a minute.
SILENT_AFTER = timedelta(minutes=3)
# However times are scaled: what beats each second at most must not seem silent.
AT_LEAST_SILENT = timedelta(seconds=10)
# Above this share little is left for a burst of rides at the end of a day.
QUOTA_HIGH = 0.8
# Fewer events, calls or deliveries tell little.
FEWEST_EVENTS, SLOW_S = 3, 60.0
FEWEST_CALLS, SHARE_FAILED = 10, 0.2
# Single changes are edits that Strava tells of late, or not at all.
FEWEST_MISSED, SHARE_MISSED = 3, 0.1
UPKEEP_DUE_FOR = timedelta(days=1)
LONGEST_REASON = 200


@dataclass(frozen=True)
class Evaluated:
    """What is looked at: the tables now, the tables some minutes ago, the factor of times, and our subscription."""

    situation: Situation
    slow: SlowSituation
    scale: float = 1.0
    subscription_id: int | None = None

    @classmethod
    def of(cls, settings: Settings, situation: Situation, slow: SlowSituation) -> Evaluated:
        """What is looked at with these settings."""
        return cls(situation, slow, settings.alert_time_scale, settings.webhook_subscription_id)

    @property
    def moment(self) -> datetime:
        return self.situation.moment

    def ago(self, age: timedelta, at_least: timedelta = timedelta()) -> datetime:
        """The moment so long ago, by the scaled time; ``at_least``: not scaled below this age."""
        return self.moment - max(age * self.scale, at_least)


def find(looked_at: Evaluated) -> list[Finding]:
    """Return what is wrong now, each rule and athlete once."""
    found = [
        *_of_strava(looked_at.situation),
        *_of_grants(looked_at),
        *_of_inbox(looked_at),
        *_of_dispatcher(looked_at),
        *_of_quota(looked_at.situation),
        *_of_calls(looked_at.situation),
        *_of_deliveries(looked_at.situation, looked_at.subscription_id),
        *_of_imports(looked_at.situation),
        *_of_mails(looked_at.situation),
        *_of_bridges(looked_at),
        *_of_all_athletes(looked_at.slow),
    ]
    # Of several bridges, or of one that hands over what it still finds, the first says what, and any that it was told.
    told = {(each.rule, each.athlete_id) for each in found if each.is_told}
    first = {(each.rule, each.athlete_id): each for each in reversed(found)}
    return [replace(each, is_told=key in told) for key, each in first.items()][::-1]


def _of_strava(situation: Situation) -> Iterator[Finding]:
    names = {Service.API: "the API", Service.OAUTH: "OAuth"}
    away = {service: outage for service, outage in situation.outages.items() if outage.away_since is not None}
    if away:
        told = "; ".join(f"{names[service]}: {outage.reason}" for service, outage in away.items())
        since = min(outage.away_since for outage in away.values() if outage.away_since is not None)
        yield Finding("strava_away", _line(told), since=since)
    belonging = situation.app.belonging
    if belonging is not None and belonging.holds_calls:
        yield Finding("restore_unchecked", unchecked_line(belonging), since=belonging.check_begun_at)
    if situation.app.inactive_since is not None:
        yield Finding("app_inactive", _app_line(situation.app), since=situation.app.inactive_since)


def _app_line(app: AppStatus) -> str:
    return _line(f"Strava says: {app.reason}")


def _of_grants(looked_at: Evaluated) -> Iterator[Finding]:
    situation = looked_at.situation
    refreshes = situation.refreshes
    failed = [each for each in refreshes if each.error is not None]
    # While OAuth is away, that is what is told.
    if len(failed) == len(refreshes) == REFRESHES and not situation.outages[Service.OAUTH].is_away:
        yield Finding("refreshes_failing", _line(failed[0].error or ""), since=failed[-1].at)
    lately = [each for each in situation.lost_grants if _is_lately(each, situation.moment)]
    if len(lately) >= MANY_LOST or len(lately) >= max(SOME_LOST, SHARE_LOST * situation.granted):
        yield Finding("many_must_reconnect", "see strava-pipeline athletes list for who they are")
    for lost in situation.lost_grants:
        detail = _line(lost.reason or "Strava says that the grant is void")
        yield Finding("athlete_must_reconnect", detail, athlete_id=lost.athlete_id, since=lost.since)


def _is_lately(lost: LostGrant, moment: datetime) -> bool:
    return lost.since is not None and lost.since > moment - LOST_WITHIN


def _of_inbox(looked_at: Evaluated) -> Iterator[Finding]:
    situation = looked_at.situation
    app = situation.app
    answers = not (situation.outages[Service.API].is_away or app.inactive_since is not None or app.are_calls_held)
    if situation.due.since is not None and situation.due.since < looked_at.ago(DUE_FOR, AT_LEAST_DUE) and answers:
        yield Finding("inbox_stuck", f"the first of them is due since {_time(situation.due.since)}")
    if situation.dead_letters:
        classes = " and ".join(sorted(situation.dead_letters))
        yield Finding("dead_letters", _with_run(f"their errors are {classes}", situation.dead_letter_run))
    processing = situation.processing
    if processing.events >= FEWEST_EVENTS and processing.median_s > SLOW_S:
        yield Finding("processing_slow", "half of the last events took longer than a minute")


def _of_dispatcher(looked_at: Evaluated) -> Iterator[Finding]:
    beats = [each.beat_at for each in looked_at.situation.heartbeats if each.role == Role.DISPATCHER]
    last = max(beats, default=None)
    if last is None or last < looked_at.ago(SILENT_AFTER, AT_LEAST_SILENT):
        told = "no dispatcher is known" if last is None else f"the last sign of life was at {_time(last)}"
        # Not since the last sign of life: while the database was away, there was none to see.
        yield Finding("dispatcher_silent", told)


def _of_quota(situation: Situation) -> Iterator[Finding]:
    fullest = situation.fullest
    if fullest is not None and fullest.used > QUOTA_HIGH and situation.live_waiting:
        yield Finding("quota_high_with_live_waiting", f"the window of {fullest.length_s} s of {fullest.scope}")


def _of_calls(situation: Situation) -> Iterator[Finding]:
    calls = situation.calls
    # An outage is told as such.
    if situation.outages[Service.API].is_away:
        return
    if calls.ended >= FEWEST_CALLS and calls.failed >= SHARE_FAILED * calls.ended:
        yield Finding("errors_spike", "calls get no answer, or one that says that Strava is at fault")


def _of_deliveries(situation: Situation, subscription_id: int | None) -> Iterator[Finding]:
    total = sum(each.deliveries for each in situation.deliveries)
    rejected = {
        each.reason: each.deliveries for each in situation.deliveries if each.outcome is DeliveryOutcome.REJECTED
    }
    if total >= FEWEST_CALLS and sum(rejected.values()) >= SHARE_FAILED * total:
        yield Finding("rejects_spike", f"most of them because of: {max(rejected, key=lambda reason: rejected[reason])}")
    for foreign in situation.foreign_deliveries:
        told = f"they are of subscription {foreign.subscription_id}, and ours is {subscription_id}"
        yield Finding("foreign_subscription", told)


def _of_imports(situation: Situation) -> Iterator[Finding]:
    for stuck in situation.stuck_imports:
        why = _line(stuck.error or "nothing came of its runs")
        yield Finding("import_stuck", _with_run(why, stuck.run_id), athlete_id=stuck.athlete_id)


def _of_mails(situation: Situation) -> Iterator[Finding]:
    mails = situation.mails
    if mails.given_up or mails.waiting:
        yield Finding("mails_failing", _line(mails.reason or "the mail server gave no reason"))


def _of_bridges(looked_at: Evaluated) -> Iterator[Finding]:
    """What bridges that are alive found where only they can look."""
    for each in looked_at.situation.heartbeats:
        if each.role == Role.BRIDGE and each.beat_at >= looked_at.ago(SILENT_AFTER, AT_LEAST_SILENT):
            yield from each.findings


def _of_all_athletes(slow: SlowSituation) -> Iterator[Finding]:
    for silent in slow.silent:
        days = f"the longest gap was {max(1, round(silent.usual / timedelta(days=1)))} days"
        detail = f"the last event came at {_time(silent.since)}; before, {days}"
        yield Finding("athlete_silent", detail, athlete_id=silent.athlete_id)
    found = slow.found
    if found.missed >= FEWEST_MISSED and found.missed > SHARE_MISSED * (found.missed + found.delivered):
        yield Finding("deliveries_missed", "upkeep found changes that no webhook told")
    upkeep = slow.upkeep
    due_since = upkeep.lag.due_since
    if upkeep.times_share > 1:
        yield Finding("upkeep_late", "it needs more requests than its share of the quota has")
    elif due_since is not None and due_since < upkeep.moment - UPKEEP_DUE_FOR:
        yield Finding("upkeep_late", f"its oldest task is due since {_time(due_since)}")


def _with_run(text: str, run_id: str | None) -> str:
    return text if run_id is None else f"{text}; run {run_id}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _line(text: str) -> str:
    return printable(text, LONGEST_REASON)
