"""The tables that the pipeline needs for its own work (schema ``ops``); analysts have no access to them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB

from strava_pipeline.strava.quota.outage import Service
from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import UTC_TIME, column, database_time, holds_one_of, key, only
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline.warehouse.states import OPEN_STATES, DagsterTask, EventState, GrantState, SignIn

SCHEMA = "ops"
_CLOCK = DDL(  # type: ignore[no-untyped-call]  # SQLAlchemy declares no types here
    "CREATE FUNCTION ops.clock() RETURNS timestamp with time zone LANGUAGE sql VOLATILE PARALLEL SAFE"
    " AS 'SELECT pg_catalog.clock_timestamp()'"
)
event.listen(metadata, "before_create", _CLOCK)


def _serial(comment: str) -> Column[Any]:
    return Column("id", BigInteger, primary_key=True, autoincrement=True, comment=comment)


def _stamped(name: str, comment: str) -> Column[Any]:
    return Column(name, UTC_TIME, nullable=False, server_default=database_time(), comment=comment)


def _count(name: str, comment: str) -> Column[Any]:
    return Column(name, Integer, nullable=False, server_default=text("0"), comment=comment)


users = Table(
    "users",
    metadata,
    key("athlete_id", BigInteger, "Strava's id of the athlete"),
    columns.text("strava_access_token", "envelope, AES-256-GCM; empty once erased"),
    columns.text("strava_refresh_token", "envelope, AES-256-GCM; empty once erased"),
    columns.instant("strava_token_expires_at", "when the access token ends (UTC)"),
    column("scopes", ARRAY(Text), "permissions the athlete granted", required=True),
    columns.text("state", "active, needs_reauth or revoked", required=True),
    columns.integer("generation", "rises with every new token pair; bound into the envelopes", required=True),
    columns.text("email", "where ride summaries go once it is confirmed; empty for none"),
    columns.instant(
        "email_given_at", "when the address was last given (UTC); not confirmed, it is erased a week later"
    ),
    columns.instant(
        "email_confirmed_at",
        "when its owner confirmed it (UTC); empty: not yet, and it gets nothing but mails that ask for that",
    ),
    columns.text("email_nonce", "bound into the link that confirms the address; another one with each address"),
    columns.text("unsubscribe_nonce", "bound into the links that end the mails; all links with another one are void"),
    columns.instant("unsubscribed_at", "when the athlete last ended the mails (UTC); the address was erased then"),
    columns.instant("refreshed_at", "when a refresh last gave the tokens (UTC); empty: they came with a code"),
    columns.instant("refresh_not_before", "after a failed refresh: no other one before this time (UTC)"),
    columns.text(
        "dagster_task",
        "what Dagster has yet to be told: register (add the partition), erase (the partition, the files in the lake and"
        " the runs) or unregister (delete the partition alone); empty: nothing",
    ),
    _stamped("connected_at", "when the athlete first connected (UTC)"),
    _stamped("updated_at", "when the row last changed (UTC)"),
    columns.instant("granted_at", "when the athlete last connected (UTC); empty: before this was noted"),
    only("state", GrantState),
    only("dagster_task", DagsterTask),
    CheckConstraint(
        "num_nulls(email, email_given_at, email_nonce, unsubscribe_nonce) IN (0, 4)"
        " AND (email IS NOT NULL OR email_confirmed_at IS NULL)",
        name="mail_consent",
    ),
    schema=SCHEMA,
    comment="connected athletes and their tokens",
)

token_audit = Table(
    "token_audit",
    metadata,
    _serial("order of the operations"),
    _stamped("at", "when (UTC)"),
    columns.bigint("athlete_id", "whose token; empty while unknown"),
    columns.text(
        "operation", "exchange, refresh, revoke (the grant at Strava), erase (all tokens here), rotate", required=True
    ),
    columns.text(
        "outcome",
        "ok, adopted (the answer to a process that died), ended before (nothing was left to revoke), or failed",
        required=True,
    ),
    columns.text(
        "detail", "what went wrong, in Strava's words; why tokens were erased; between which keys; never a token"
    ),
    Index(None, "athlete_id", "at"),
    Index(None, "at"),
    schema=SCHEMA,
    comment="every operation on a token",
)

token_journal = Table(
    "token_journal",
    metadata,
    _serial("order of the attempts"),
    columns.bigint("athlete_id", "whose tokens", required=True),
    columns.integer("generation", "of the token pair this attempt was to give", required=True),
    _stamped("begun_at", "when the refresh began (UTC), before Strava was asked"),
    columns.instant("answered_at", "when the answer was stored (UTC); empty: none came, or the process died"),
    columns.text("strava_access_token", "envelope, as it will stand in ops.users"),
    columns.text("strava_refresh_token", "envelope, as it will stand in ops.users"),
    columns.instant("strava_token_expires_at", "when the access token ends (UTC)"),
    Index(None, "athlete_id"),
    schema=SCHEMA,
    comment="refreshes under way: what Strava issued is kept here before anything else is done with it",
)

key_checks = Table(
    "key_checks",
    metadata,
    key("key_id", Text, "id of a key of STRAVA_TOKEN_KEYS"),
    columns.text(
        "check_value", "tells whether a process has the same key under this id; nothing of the key", required=True
    ),
    _stamped("first_seen_at", "when the key was used first (UTC)"),
    schema=SCHEMA,
    comment="the keys that wrote tokens into this database",
)

app_status = Table(
    "app_status",
    metadata,
    key("id", Integer, "always 1: there is one app"),
    columns.instant("inactive_since", "since when Strava has the app switched off (UTC); empty: it is not"),
    columns.instant("probe_at", "when the next call may try whether it is on again (UTC)"),
    columns.text("reason", "Strava's words"),
    columns.number("clock_offset_s", "Strava's clock minus the database's, as learned from its answers, s"),
    columns.number("clock_error_s", "by how much that may be wrong, either way, s"),
    columns.instant(
        "clock_learned_at", "when an answer last confirmed that (UTC); empty: never, or one contradicts it"
    ),
    CheckConstraint("id = 1", name="one"),
    schema=SCHEMA,
    comment="what all processes know of the Strava app",
)

outages = Table(
    "outages",
    metadata,
    key("service", Text, "api or oauth"),
    columns.integer("unanswered", "calls in a row that Strava did not answer", required=True),
    columns.instant("first_sent_at", "when the first of these was sent (UTC); empty: the last call was answered"),
    columns.bigint("only_activity", "Strava's id of the activity that all of them are about; empty: none, or several"),
    column("several", Boolean, "they are not all about one activity", required=True),
    column("hosts", ARRAY(Text), "machines whose calls since then got no answer, at most 20", required=True),
    columns.instant("away_since", "since when nothing answers (UTC); empty: it is not away"),
    columns.instant("probe_at", "when the next call may try whether it answers again (UTC)"),
    columns.instant("probe_began_at", "when the last of these was booked (UTC); its answer alone moves probe_at"),
    columns.number("pause_s", "from a failed try to the next, s"),
    columns.text("reason", "why the last call had no answer"),
    only("service", Service),
    schema=SCHEMA,
    comment="whether Strava answers: what all processes know of their calls since its last answer",
)

write_probe = Table(
    "write_probe",
    metadata,
    key("id", Integer, "always 1"),
    columns.instant("at", "when it was last written (UTC)", required=True),
    CheckConstraint("id = 1", name="one"),
    schema=SCHEMA,
    comment="written to find out whether the database accepts writes",
)

api_calls = Table(
    "api_calls",
    metadata,
    _serial("order of the reservations"),
    columns.text("lane", "live, reconcile or backfill", required=True),
    columns.text("endpoint", "path with ids left out", required=True),
    columns.bigint("athlete_id", "on whose behalf"),
    _stamped("reserved_at", "when room was reserved (UTC), before the call was sent"),
    columns.instant("settled_at", "when the answer was in (UTC); empty: no answer, or the process died"),
    column("status", SmallInteger, "HTTP status; empty without an answer"),
    columns.number("duration_ms", "from sending to the whole answer, ms"),
    Index(None, "reserved_at"),
    Index(None, "lane", "reserved_at"),
    schema=SCHEMA,
    comment="one row per request to Strava: reservation, record and metric at once",
)

quota_windows = Table(
    "quota_windows",
    metadata,
    key("scope", Text, "app, or athlete and an id, where the limits are the athlete's own"),
    key("length_s", Integer, "length of the window, s"),
    key("starts_at", UTC_TIME, "start (UTC)"),
    columns.integer("booked", "calls of ours that may count in this window", required=True),
    _count("booked_live", "of these, calls of the lane live"),
    _count("booked_reconcile", "of these, calls of the lane reconcile"),
    columns.integer("read_limit", "Strava's limit of reads, once known"),
    columns.integer("read_foreign", "reads Strava counted beyond ours", required=True),
    columns.integer("overall_limit", "Strava's limit of all calls, once known"),
    columns.integer("overall_foreign", "calls Strava counted beyond ours", required=True),
    columns.instant("blocked_until", "no call before this time (UTC, Strava's clock): Strava answered 429"),
    columns.instant(
        "newest_until",
        "backfills leave their room to a new athlete's newest month before this time (UTC, Strava's clock)",
    ),
    Index("ix_quota_windows_blocked", "scope", "blocked_until", postgresql_where=text("blocked_until IS NOT NULL")),
    schema=SCHEMA,
    comment="what is used of each of Strava's rate windows",
)

webhook_events = Table(
    "webhook_events",
    metadata,
    _serial("order of arrival"),
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
    _stamped("received_at", "when it was stored (UTC)"),
    columns.text("state", "received, launched, waiting, done, dead, parked or discarded", required=True),
    _count("attempts", "how often it ended as a dead letter"),
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
    _count("waits", "how often it waited for its activity or streams to appear"),
    _count("lost_runs", "how often a run that had it ended without a word"),
    columns.instant("lease_until", "the claim ends here (UTC) unless extended"),
    columns.instant("taken_up_at", "when the run that has it began to work (UTC); empty: it has not begun"),
    columns.text("run_id", "Dagster run that has it, or had it last"),
    columns.text("error_class", "transient or permanent, when dead"),
    columns.text("error_kind", "class of the error that ended it, when dead"),
    columns.text("error", "why the last try failed"),
    columns.instant("finished_at", "when it was done or given up (UTC)"),
    _count("redrives", "how often it was tried again by itself after it had died"),
    columns.instant("redrive_at", "when dead: tried again by itself at this time (UTC); empty: waits for an operator"),
    columns.instant("discarded_at", "when an operator discarded it (UTC)"),
    columns.text("discarded_by", "who discarded it"),
    columns.text("discarded_because", "why it was discarded"),
    UniqueConstraint("event_key"),
    only("state", EventState),
    Index("ix_webhook_events_open", "id", postgresql_where=text(holds_one_of("state", OPEN_STATES))),
    Index("ix_webhook_events_open_object", "object_id", postgresql_where=text(holds_one_of("state", OPEN_STATES))),
    Index(
        "ix_webhook_events_dead",
        "id",
        postgresql_where=text(holds_one_of("state", (EventState.DEAD, EventState.PARKED))),
    ),
    Index("ix_webhook_events_done", "finished_at", postgresql_where=text(f"state = '{EventState.DONE}'")),
    Index(None, "owner_id", "object_id"),
    schema=SCHEMA,
    comment="the inbox: every accepted webhook event and what became of it",
)

# Numbers the claims. One sequence serves all objects, so no number is used twice.
webhook_claims = Sequence("webhook_claims", schema=SCHEMA, metadata=metadata)

tombstones = Table(
    "tombstones",
    metadata,
    key("activity_id", BigInteger, "Strava's id of the activity that is gone"),
    columns.bigint("athlete_id", "whose it was", required=True),
    columns.instant(
        "asked_at", "when Strava was asked whether it is still there (UTC); older answers are void", required=True
    ),
    _stamped("deleted_at", "when what was stored of it was deleted (UTC)"),
    columns.text("reason", "what told that it is gone", required=True),
    Index(None, "athlete_id"),
    schema=SCHEMA,
    comment="activities that Strava no longer has, so that a late answer brings none of them back",
)

payloads = Table(
    "payloads",
    metadata,
    key("activity_id", BigInteger, "Strava's id of the activity"),
    key("kind", Text, "summary or detail"),
    columns.bigint("athlete_id", "Strava's id of the athlete", required=True),
    column(
        "body", JSON, "Strava's answer as it came, with the title or privacy that an event told since", required=True
    ),
    columns.text("digest", "of the fields whose change calls for a new detail", required=True),
    columns.instant("fetched_at", "when it was asked for (UTC)", required=True),
    columns.instant("mapped_at", "when a re-map last rebuilt rows from it (UTC); empty: never"),
    Index(None, "athlete_id"),
    Index("ix_payloads_details", "fetched_at", postgresql_where=text("kind = 'detail'")),
    schema=SCHEMA,
    comment="raw answers, so that tables can be rebuilt without one request",
)

oauth_states = Table(
    "oauth_states",
    metadata,
    key("state_hash", Text, "sha256 of the state that Strava sends back"),
    columns.text("browser_hash", "sha256 of the cookie of the browser that began", required=True),
    columns.text("email", "where ride summaries are to go; empty for none"),
    columns.instant("expires_at", "no longer good from here (UTC)", required=True),
    columns.text("link_hash", "sha256 of the secret part of the link it was begun by; empty: the operator began it"),
    Index(None, "link_hash"),
    schema=SCHEMA,
    comment="connections under way: each state works once, in the browser that began",
)

operator_sessions = Table(
    "operator_sessions",
    metadata,
    key("secret_hash", Text, "sha256 of what the browser holds"),
    columns.text("kind", "session, or link: a link that signs in once", required=True),
    columns.text("proof", "of the token and the settings it was opened under; tells nothing of them", required=True),
    _stamped("opened_at", "when it was made (UTC)"),
    columns.instant("expires_at", "no longer good from here (UTC)", required=True),
    only("kind", SignIn),
    schema=SCHEMA,
    comment="browsers that are logged in as the operator; what is not here is logged out",
)

locks = Table(
    "locks",
    metadata,
    key("name", Text, "what it guards"),
    key("athlete_id", BigInteger, "whose that is; 0: nobody's in particular"),
    key("subject", Text, "which of the athlete's, such as a month; empty: all"),
    schema=SCHEMA,
    comment="what one transaction at a time may do: it locks the row meanwhile; the rows themselves never change",
)

work_leases = Table(
    "work_leases",
    metadata,
    key("athlete_id", BigInteger, "whose data is worked on"),
    key("work", Text, "step and month"),
    columns.text("holder", "the worker, by a number drawn at random", required=True),
    columns.instant("lease_until", "the worker is taken to be gone from here on (UTC); it extends this", required=True),
    schema=SCHEMA,
    comment="who is at work on what takes longer than a transaction may",
)

invites = Table(
    "invites",
    metadata,
    _serial("order in which they were made"),
    columns.text("secret_hash", "sha256 of the secret part of the link; places of one link share it", required=True),
    columns.text("proof", "of the operator's token it was made under; tells nothing of it", required=True),
    _stamped("made_at", "when the link was made (UTC)"),
    columns.instant("expires_at", "no longer good from here (UTC)", required=True),
    columns.bigint("athlete_id", "who has connected by it; empty: nobody yet"),
    columns.instant("used_at", "when that was (UTC); empty: the place is free"),
    _count("attempts", "how often Strava was asked for somebody's tokens by it"),
    Index(None, "secret_hash"),
    Index(None, "expires_at"),
    schema=SCHEMA,
    comment="links by which others may connect: one row for each person a link is good for",
)

operator_audit = Table(
    "operator_audit",
    metadata,
    _serial("order of the actions"),
    _stamped("at", "when (UTC)"),
    columns.text("actor", "operator, athlete, command or strava", required=True),
    columns.text(
        "action",
        "connect, disconnect, import, pause, resume, replay, discard, login, logout, invite, cancel",
        required=True,
    ),
    columns.text("subject", "athlete or event concerned"),
    columns.text("outcome", "ok or failed", required=True),
    columns.text("detail", "cause and extent; never health data, never a secret"),
    Index(None, "at"),
    schema=SCHEMA,
    comment="what people did to athletes and events, and on whose word",
)
