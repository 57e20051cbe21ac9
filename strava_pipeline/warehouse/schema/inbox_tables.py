"""The tables of the inbox (schema ``ops``): webhook events, and the numbers of claims on their objects."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Sequence,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import column, holds_one_of, only
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA, counter, serial, stamped
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline.warehouse.states import ENDED_STATES, OPEN_STATES, EventState

webhook_events = Table(
    "webhook_events",
    metadata,
    serial("order of arrival"),
    columns.text("event_key", "sha256 over what makes the event; redeliveries share it", required=True),
    columns.text("source", "webhook, or reconcile when found by comparing", required=True),
    columns.bigint("subscription_id", "Strava's id of the subscription", required=True),
    columns.text("object_type", "activity or athlete", required=True),
    columns.bigint("object_id", "id of the activity or athlete", required=True),
    columns.text("aspect_type", "create, update or delete", required=True),
    columns.bigint("owner_id", "athlete concerned", required=True),
    columns.instant("event_time", "when it happened, as Strava says (UTC)", required=True),
    column("updates", JSONB, "what changed", required=True),
    column("signed", Boolean, "the delivery carried a valid signature", required=True),
    stamped("received_at", "when it was stored (UTC)"),
    columns.text("state", "received, launched, waiting, done, dead, parked or discarded", required=True),
    counter("attempts", "how often it ended as a dead letter"),
    Column(
        "fence",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="number of the claim on its object that has it, or had it last; a newer claim makes it void",
    ),
    columns.instant("not_before", "not to be claimed before (UTC)"),
    columns.text(
        "waiting_for", "when waiting: dagster, activity, streams, quota, app, outage, strava, database or replay"
    ),
    counter("waits", "how often it waited for its activity or streams to appear"),
    counter("lost_runs", "how often a run that had it ended without a word"),
    columns.instant("lease_until", "the claim ends here (UTC) unless extended"),
    columns.instant("taken_up_at", "when the run that has it began to work (UTC); empty: it has not begun"),
    columns.text("run_id", "Dagster run that has it, or had it last"),
    columns.text("error_class", "transient or permanent, when dead"),
    columns.text("error_kind", "class of the error that ended it, when dead"),
    columns.text("error", "why the last try failed"),
    columns.instant("finished_at", "when it was done or given up (UTC)"),
    counter("redrives", "how often it was tried again by itself after it had died"),
    columns.instant("redrive_at", "when dead: tried again by itself at this time (UTC); empty: waits for an operator"),
    columns.instant("discarded_at", "when an operator discarded it (UTC)"),
    columns.text("discarded_by", "who discarded it"),
    columns.text("discarded_because", "why it was discarded"),
    columns.is_counted(),
    UniqueConstraint("event_key"),
    only("state", EventState),
    Index("ix_webhook_events_open", "id", postgresql_where=text(holds_one_of("state", OPEN_STATES))),
    Index("ix_webhook_events_open_object", "object_id", postgresql_where=text(holds_one_of("state", OPEN_STATES))),
    Index(
        "ix_webhook_events_dead",
        "id",
        postgresql_where=text(holds_one_of("state", (EventState.DEAD, EventState.PARKED))),
    ),
    Index("ix_webhook_events_discarded", "id", postgresql_where=text(f"state = '{EventState.DISCARDED}'")),
    Index("ix_webhook_events_done", "finished_at", postgresql_where=text(f"state = '{EventState.DONE}'")),
    Index(
        "ix_webhook_events_uncounted",
        "id",
        postgresql_where=text(f"NOT is_counted AND {holds_one_of('state', ENDED_STATES)}"),
    ),
    Index(None, "owner_id", "object_id"),
    Index(None, "owner_id", "source", "received_at"),
    schema=SCHEMA,
    comment="the inbox: every accepted webhook event and what became of it",
)

# Numbers the claims. One sequence serves all objects, so no number is used twice.
webhook_claims = Sequence("webhook_claims", schema=SCHEMA, metadata=metadata)
