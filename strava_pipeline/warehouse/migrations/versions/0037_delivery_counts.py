"""Count what becomes of deliveries."""

from __future__ import annotations

from alembic import op

revision = "0037"
down_revision = "0036"

_STATEMENTS = """
CREATE TABLE ops.delivery_counts (
    slot timestamp with time zone NOT NULL,
    outcome text NOT NULL,
    reason text NOT NULL,
    bridge text NOT NULL,
    deliveries bigint NOT NULL,
    slowest_ms integer NOT NULL,
    subscription_id bigint,
    CONSTRAINT pk_delivery_counts PRIMARY KEY (slot, outcome, reason, bridge),
    CONSTRAINT ck_delivery_counts_outcome CHECK (outcome IN ('stored', 'duplicate', 'stranger', 'rejected'))
);
COMMENT ON TABLE ops.delivery_counts IS 'what became of deliveries, in slots of five minutes';
COMMENT ON COLUMN ops.delivery_counts.slot IS
    'start of the five minutes in which they were answered (UTC, by the bridge''s clock)';
COMMENT ON COLUMN ops.delivery_counts.outcome IS
    'stored, duplicate, stranger (of nobody who is connected) or rejected';
COMMENT ON COLUMN ops.delivery_counts.reason IS 'why they were rejected; else empty';
COMMENT ON COLUMN ops.delivery_counts.bridge IS
    'the process that counted: a random name that it has until its end';
COMMENT ON COLUMN ops.delivery_counts.deliveries IS 'how many';
COMMENT ON COLUMN ops.delivery_counts.slowest_ms IS 'longest time from request to answer, ms';
COMMENT ON COLUMN ops.delivery_counts.subscription_id IS
    'subscription of the last one that was rejected as of another; else empty';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
