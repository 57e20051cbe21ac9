"""The tables of athletes' grants and tokens (schema ``ops``), and of the erasure of their data."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import column, key, only
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA, serial, stamped
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline.warehouse.states import DagsterTask, GrantState

users = Table(
    "users",
    metadata,
    key("athlete_id", BigInteger, "Strava's id of the athlete"),
    columns.text("strava_access_token", "envelope, AES-256-GCM; empty once erased"),
    columns.text("strava_refresh_token", "envelope, AES-256-GCM; empty once erased"),
    columns.instant("strava_token_expires_at", "when the access token ends (UTC)"),
    column("scopes", ARRAY(Text), "permissions the athlete granted", required=True),
    columns.text("state", "active, needs_reauth, revoked or archive_only (never connected: handed in)", required=True),
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
    stamped("connected_at", "when the athlete first connected (UTC)"),
    stamped("updated_at", "when the row last changed (UTC)"),
    columns.instant("granted_at", "when the athlete last connected (UTC); empty: before this was noted"),
    only("state", GrantState),
    only("dagster_task", DagsterTask),
    CheckConstraint(
        "num_nulls(email, email_given_at, email_nonce, unsubscribe_nonce) IN (0, 4)"
        " AND (email IS NOT NULL OR email_confirmed_at IS NULL)",
        name="mail_consent",
    ),
    Index("ix_users_needs_reauth", "athlete_id", postgresql_where=text(f"state = '{GrantState.NEEDS_REAUTH}'")),
    schema=SCHEMA,
    comment="connected athletes and their tokens",
)

erasures = Table(
    "erasures",
    metadata,
    key("athlete_id", BigInteger, "whose data are being deleted"),
    stamped("begun_at", "when that was decided (UTC)"),
    columns.text("actor", "on whose word: operator, athlete, command or strava", required=True),
    Column("deleted", BigInteger, nullable=False, server_default=text("0"), comment="rows deleted so far"),
    schema=SCHEMA,
    comment="athletes whose data are being deleted; a row goes once nothing is left",
)

token_audit = Table(
    "token_audit",
    metadata,
    serial("order of the operations"),
    stamped("at", "when (UTC)"),
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
    columns.is_counted(),
    Index(None, "athlete_id", "at"),
    Index(None, "at"),
    Index("ix_token_audit_uncounted", "id", postgresql_where=text("NOT is_counted")),
    schema=SCHEMA,
    comment="every operation on a token",
)

token_journal = Table(
    "token_journal",
    metadata,
    serial("order of the attempts"),
    columns.bigint("athlete_id", "whose tokens", required=True),
    columns.integer("generation", "of the token pair this attempt was to give", required=True),
    stamped("begun_at", "when the refresh began (UTC), before Strava was asked"),
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
    stamped("first_seen_at", "when the key was used first (UTC)"),
    schema=SCHEMA,
    comment="the keys that wrote tokens into this database",
)
