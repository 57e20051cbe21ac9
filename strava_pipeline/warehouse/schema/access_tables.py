"""The tables of who may come in (schema ``ops``): connections under way, sessions, invitations, and the audit."""

from __future__ import annotations

from sqlalchemy import (
    Index,
    Table,
    Text,
)

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import key, only
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA, counter, serial, stamped
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline.warehouse.states import SignIn

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
    stamped("opened_at", "when it was made (UTC)"),
    columns.instant("expires_at", "no longer good from here (UTC)", required=True),
    only("kind", SignIn),
    schema=SCHEMA,
    comment="browsers that are logged in as the operator; what is not here is logged out",
)

invites = Table(
    "invites",
    metadata,
    serial("order in which they were made"),
    columns.text("secret_hash", "sha256 of the secret part of the link; places of one link share it", required=True),
    columns.text("proof", "of the operator's token it was made under; tells nothing of it", required=True),
    stamped("made_at", "when the link was made (UTC)"),
    columns.instant("expires_at", "no longer good from here (UTC)", required=True),
    columns.bigint("athlete_id", "who has connected by it, or alone may; empty: nobody yet"),
    columns.instant("used_at", "when that was (UTC); empty: the place is free"),
    counter("attempts", "how often Strava was asked for somebody's tokens by it"),
    Index(None, "secret_hash"),
    Index(None, "expires_at"),
    schema=SCHEMA,
    comment="links by which others may connect: one row for each person a link is good for",
)

operator_audit = Table(
    "operator_audit",
    metadata,
    serial("order of the actions"),
    stamped("at", "when (UTC)"),
    columns.text("actor", "operator, athlete, command or strava", required=True),
    columns.text(
        "action",
        "connect, disconnect, erase (the data are deleted), import, pause, resume, replay, discard, login, logout,"
        " invite, cancel, silence (a rule of alerts), end_silence, test_alerts, restore (check of a backup)",
        required=True,
    ),
    columns.text("subject", "athlete or event concerned"),
    columns.text("outcome", "ok or failed", required=True),
    columns.text("detail", "cause and extent; never health data, never a secret"),
    Index(None, "at"),
    schema=SCHEMA,
    comment="what people did to athletes and events, and on whose word",
)
