"""The tables of alerts (schema ``ops``): what is on, what is silenced, what is told, and which processes are alive."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import UTC_TIME, column, database_time, key, only
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline.warehouse.states import AlertChange, AlertState, SendState, Severity

_MAIL_WAITS = f"mail_state = '{SendState.PENDING}'"
_PUSH_WAITS = f"push_state = '{SendState.PENDING}'"
_IS_OPEN = "finished_at IS NULL"

alerts = Table(
    "alerts",
    metadata,
    key("rule", Text, "name of the rule, as docs/operations.md lists them"),
    key("athlete_id", BigInteger, "whom it concerns; 0: nobody in particular"),
    columns.text("state", "pending, firing or clearing", required=True),
    columns.instant("since", "since when the rule's condition holds (UTC)", required=True),
    columns.instant("changed_at", "when the state last changed (UTC)", required=True),
    columns.instant("fired_at", "when it fired (UTC); empty: not yet"),
    columns.instant("told_at", "when a message about it was last made (UTC); empty: none was"),
    columns.text("detail", "what was found, in one line", required=True),
    only("state", AlertState),
    CheckConstraint(f"(state = '{AlertState.PENDING}') = (fired_at IS NULL)", name="fired"),
    schema=SCHEMA,
    comment="alerts whose condition holds, or held until just now; a row goes when its alert is cleared",
)

alert_silences = Table(
    "alert_silences",
    metadata,
    key("rule", Text, "name of the rule"),
    columns.instant("until", "the silence ends here (UTC)", required=True),
    columns.text("silenced_by", "on whose word: operator or command", required=True),
    columns.text("because", "why", required=True),
    schema=SCHEMA,
    comment="rules that tell nothing for a while; their alerts are shown all the same",
)

alert_messages = Table(
    "alert_messages",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True, comment="order of the messages"),
    Column(
        "made_at", UTC_TIME, nullable=False, server_default=database_time(), comment="when what it tells happened (UTC)"
    ),
    columns.text("change", "fired, cleared, again (told once more), test or run_failed", required=True),
    columns.text("rule", "name of the rule; empty: a test, or a failed run"),
    columns.text("severity", "critical or warning", required=True),
    column("athlete_ids", ARRAY(BigInteger), "whom it concerns; empty: nobody in particular", required=True),
    columns.text("subject", "what happened, in one line", required=True),
    columns.text("body", "what happened and what to do, with links", required=True),
    columns.text("mail_state", "pending, sent, failed (given up) or skipped (no mail is set up)", required=True),
    columns.text("mail_error", "why the last mail failed"),
    columns.text("push_state", "the same for Apprise: pending, sent, failed or skipped", required=True),
    columns.text("push_error", "why the last push failed"),
    Column(
        "pushed_to",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{}'"),
        comment="the services that have it by now: for each, four digits of its address' sha256",
    ),
    Column("attempts", Integer, nullable=False, server_default=text("0"), comment="how often sending began"),
    columns.instant("next_try_at", "not to be sent before (UTC); while it is being sent, when that try counts as dead"),
    columns.instant("finished_at", "when it was sent, given up or skipped on both ways (UTC)"),
    only("change", AlertChange),
    only("severity", Severity),
    only("mail_state", SendState),
    only("push_state", SendState),
    CheckConstraint(f"({_IS_OPEN}) = ({_MAIL_WAITS} OR {_PUSH_WAITS})", name="finished"),
    Index("ix_alert_messages_open", "id", postgresql_where=text(_IS_OPEN)),
    Index(None, "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
    schema=SCHEMA,
    comment="what is told about alerts and failed runs, one row for each change, and what became of it",
)

alert_checks = Table(
    "alert_checks",
    metadata,
    key("asset", Text, "asset that has the check"),
    key("severity", Text, "critical or warning: of the alerts that the check tells"),
    columns.text("told", "what Dagster was told last: the rules that are on; empty: none is", required=True),
    columns.instant("told_at", "when that was (UTC)", required=True),
    only("severity", Severity),
    schema=SCHEMA,
    comment="the asset checks that show alerts in Dagster, and what they were last reported to say",
)

heartbeats = Table(
    "heartbeats",
    metadata,
    key("process", Text, "host, process id and role"),
    columns.text("role", "bridge or dispatcher", required=True),
    columns.instant("started_at", "when it began (UTC)", required=True),
    columns.instant("beat_at", "its last sign of life (UTC)", required=True),
    column(
        "findings", JSONB, "what it finds wrong, on its machine or with its settings: rule and detail", required=True
    ),
    Index(None, "beat_at"),
    schema=SCHEMA,
    comment="processes that have to be alive, and their last sign of life",
)
