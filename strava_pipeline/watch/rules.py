"""All alerts: when each fires and clears, how much it matters, and what to do.

What makes a rule's condition true is in :mod:`strava_pipeline.watch.evaluation`; docs/operations.md explains each rule
under its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from strava_pipeline.names import Asset
from strava_pipeline.warehouse.states import Severity

DOCS = "docs/operations.md"
_AT_ONCE = timedelta()
# Longer than one evaluation, so that something that is over by the next look tells nothing.
_SOON = timedelta(minutes=1)
# Once a database that was away is back, a dispatcher rests for up to a minute, and its run takes time to start.
_SETTLED = timedelta(minutes=3)
_MINUTES = timedelta(minutes=5)
# What comes and goes with single calls or runs; a shorter time would tell of each of them.
_LASTING = timedelta(minutes=15)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Rule:
    """One alert.

    ``summary``: what is wrong, as a message's subject says it. ``threshold``: when its condition holds, in words.
    ``fires_after``, ``clears_after``: how long the condition must hold, and must have ended, before that is told.
    ``asset``: key of the asset beside which Dagster shows it. ``per_athlete``: whether it is on for single athletes.
    """

    name: str
    severity: Severity
    summary: str
    threshold: str
    fires_after: timedelta
    clears_after: timedelta
    what_to_do: str
    asset: str
    per_athlete: bool = False

    @property
    def anchor(self) -> str:
        """The rule's section in docs/operations.md."""
        return self.name.replace("_", "-")


def _critical(
    name: str,
    summary: str,
    threshold: str,
    what_to_do: str,
    *,
    fires_after: timedelta = _SOON,
    clears_after: timedelta = _MINUTES,
    asset: str = Asset.ACTIVITIES,
) -> Rule:
    return Rule(name, Severity.CRITICAL, summary, threshold, fires_after, clears_after, what_to_do, asset)


def _warning(
    name: str,
    summary: str,
    threshold: str,
    what_to_do: str,
    *,
    fires_after: timedelta = _MINUTES,
    clears_after: timedelta = _MINUTES,
    asset: str = Asset.ACTIVITIES,
    per_athlete: bool = False,
) -> Rule:
    return Rule(name, Severity.WARNING, summary, threshold, fires_after, clears_after, what_to_do, asset, per_athlete)


RULES: Final[tuple[Rule, ...]] = (
    _critical(
        "strava_away",
        "Strava does not answer",
        "Strava's API, or its OAuth, has answered nobody for 15 minutes",
        "See https://status.strava.com. Nothing is lost: events and imports wait, and go on by themselves. If Strava is"
        " well, look for a proxy, firewall or DNS of this machine that is not.",
        fires_after=_LASTING,
    ),
    _critical(
        "app_inactive",
        "Strava has the app switched off",
        "Strava answers 403 Application Status Inactive",
        "The app's owner needs a Strava subscription: see https://www.strava.com/settings/api. One call an hour tries"
        " whether it is on again; events and imports wait.",
    ),
    _critical(
        "restore_unchecked",
        "A restored database was not compared with Strava",
        "the tables come from a backup or another server, and restore check has not passed",
        "Run strava-pipeline restore check (docs/backup.md). Until then nothing calls Strava: events and imports wait.",
        clears_after=_SOON,
        asset=Asset.ATHLETES,
    ),
    _critical(
        "refreshes_failing",
        "Tokens cannot be refreshed",
        "the last three refreshes of tokens, of the last six hours, failed for another reason than the athlete's",
        "Check STRAVA_CLIENT_ID and STRAVA_CLIENT_SECRET with strava-pipeline doctor; the token audit has Strava's"
        " words. Access tokens end within six hours, and then nothing is fetched.",
        asset=Asset.ATHLETES,
    ),
    _critical(
        "many_must_reconnect",
        "Many athletes must connect again",
        "within an hour three athletes, or two who are 10 % of all, lost their grant",
        "This many seldom withdraw by themselves: see https://www.strava.com/settings/api whether the app, its secret"
        " or its limit of athletes was changed. Then send the athletes a link to connect.",
        fires_after=_AT_ONCE,
        asset=Asset.ATHLETES,
    ),
    _critical(
        "inbox_stuck",
        "Webhook events are not worked on",
        "an event has been due for 10 minutes while Strava answers",
        "See strava-pipeline doctor and Dagster's queue of runs: is the daemon alive, is there room for a run, do runs"
        " of webhook_sync fail?",
        fires_after=_SETTLED,
    ),
    _critical(
        "dead_letters",
        "Webhook events were given up",
        "a dead letter waits for the operator",
        "strava-pipeline dead-letters list tells why; then replay or discard each.",
        fires_after=_AT_ONCE,
        clears_after=_SOON,
    ),
    _critical(
        "dispatcher_silent",
        "No bridge launches runs",
        "no dispatcher of any bridge gave a sign of life for 3 minutes",
        "Restart the bridge, and see its log for why its dispatcher stopped.",
        fires_after=_SETTLED,
    ),
    _critical(
        "daemon_silent",
        "Dagster's daemon, or its webserver, does not work",
        "Dagster's webserver cannot be reached, or has heard nothing of a daemon that it needs for 90 seconds",
        "Restart dagster-daemon, or dagster-webserver, and see its log. Events wait meanwhile.",
        fires_after=_SETTLED,
    ),
    _critical(
        "database_away",
        "The database does not accept writes",
        "this bridge could not write to the database",
        "Start Postgres, or see its log: a full disk, too many connections, a primary that became a replica. Strava's"
        " deliveries are refused meanwhile, and Strava repeats them three times only.",
    ),
    _critical(
        "disk_full",
        "The disk is almost full",
        "less than 1 GB, and less than 5 %, is free on the disk of STRAVA_HOME, the embedded Postgres or the lake",
        "Make room: docs/storage.md says what grows, and what may go.",
    ),
    _critical(
        "keys_missing",
        "Stored tokens cannot be decrypted",
        "STRAVA_TOKEN_KEYS lacks a key that tokens were encrypted with, or has another one under its id",
        "Put the former key back, behind the first one; strava-pipeline keys status names it.",
        asset=Asset.ATHLETES,
    ),
    _warning(
        "athlete_must_reconnect",
        "An athlete must connect again",
        "Strava says that an athlete's grant is void, and the athlete did not disconnect here",
        "Send the athlete a link to connect, made on the operator's page. Events are kept until then.",
        fires_after=_SOON,
        clears_after=_SOON,
        asset=Asset.ATHLETES,
        per_athlete=True,
    ),
    _warning(
        "quota_high_with_live_waiting",
        "The quota is nearly used up, and webhook events wait for it",
        "more than 80 % of a window of Strava's is used while events wait for quota",
        "See strava-pipeline quota: which lane used it? Pause imports, or ask Strava for a higher limit.",
    ),
    _warning(
        "processing_slow",
        "Webhook events take longer than a minute",
        "half of the last 20 events of an hour, of three at least, took more than a minute from receipt to their end",
        "See Dagster's queue of runs and the machine's load: STRAVA_RUNS_AT_ONCE, or imports that take all slots.",
    ),
    _warning(
        "errors_spike",
        "Many calls to Strava fail",
        "of the calls of the last 15 minutes, of ten at least, every fifth got no answer or a 5xx",
        "See https://status.strava.com; calls are repeated by themselves.",
    ),
    _warning(
        "rejects_spike",
        "Many deliveries are refused",
        "of the deliveries of the last 15 minutes, of ten at least, every fifth was refused",
        "The bridge's log has the reasons: a changed signing secret, a clock that is wrong, or somebody who tries.",
    ),
    _warning(
        "athlete_silent",
        "No events from an athlete who usually has some",
        "no event for a week at least, and for three times the longest gap of the athlete's last 60 days with events",
        "A holiday is fine. If several are silent, look for the subscription: strava-pipeline webhook status.",
        fires_after=_HOUR,
        clears_after=_SOON,
        asset=Asset.ATHLETES,
        per_athlete=True,
    ),
    _warning(
        "deliveries_missed",
        "Strava did not deliver what upkeep found",
        "of the last day's changes upkeep found three or more, and more than a tenth of all, that no webhook told",
        "See strava-pipeline webhook status: is the subscription there, and its callback reachable from outside?",
        clears_after=_HOUR,
    ),
    _warning(
        "foreign_subscription",
        "Deliveries come from another subscription",
        "a delivery of the last hour named another subscription than STRAVA_WEBHOOK_SUBSCRIPTION_ID",
        "strava-pipeline webhook status shows the app's subscription: set its id, or delete the other one.",
        fires_after=_AT_ONCE,
        clears_after=_SOON,
    ),
    _warning(
        "import_stuck",
        "An import does not come forward",
        "three runs of an athlete's import in a row ended without progress",
        "strava-pipeline import list, and the last run in Dagster, tell why.",
        per_athlete=True,
    ),
    _warning(
        "upkeep_late",
        "Upkeep is late",
        "upkeep needs more than its share of the quota, or its oldest task is due for a day",
        "See strava-pipeline doctor, which names schedules that are stopped, and docs/upkeep.md: list the last days"
        " less often (STRAVA_UPKEEP_RECENT_HOURS), raise STRAVA_UPKEEP_SHARE, or ask Strava for a higher limit.",
        fires_after=_HOUR,
        clears_after=_HOUR,
    ),
    _warning(
        "mails_failing",
        "Mails cannot be sent",
        "a mail was given up in the last hour, or waits after three tries",
        "See strava-pipeline doctor, which logs in to the mail server, and docs/mails.md.",
        asset=Asset.ATHLETES,
    ),
    _warning(
        "new_api_host",
        "Strava's API is about to move",
        "STRAVA_API_URL is the old host, which Strava gives up on 2027-01-04, and the new one answers; from six weeks"
        " before",
        "Set STRAVA_API_URL to the address that strava-pipeline doctor names, and restart everything.",
        fires_after=_AT_ONCE,
        clears_after=_SOON,
    ),
)
RULES_BY_NAME: Final[Mapping[str, Rule]] = {rule.name: rule for rule in RULES}
