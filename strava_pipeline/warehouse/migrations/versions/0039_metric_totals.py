"""Add calls, token operations, events and mails to totals once they have ended.

Rows from before that have ended are taken for added: the totals begin with this revision. So no row of a large table is
written, and the default of a new row differs from that of the old ones.
"""

from __future__ import annotations

from alembic import op

revision = "0039"
down_revision = "0038"

_STATEMENTS = """
CREATE TABLE ops.metric_totals (
    metric text NOT NULL,
    labels text[] NOT NULL,
    amount double precision NOT NULL,
    CONSTRAINT pk_metric_totals PRIMARY KEY (metric, labels)
);
COMMENT ON TABLE ops.metric_totals IS
    'sums over rows that have ended, which stay when the rows are deleted; a row is added once (is_counted)';
COMMENT ON COLUMN ops.metric_totals.metric IS 'what is counted';
COMMENT ON COLUMN ops.metric_totals.labels IS
    'of which kind, such as endpoint, lane and result of a call; never whose';
COMMENT ON COLUMN ops.metric_totals.amount IS 'how often, or how long in all, s; it never falls';
UPDATE ops.api_calls SET is_counted = false WHERE settled_at IS NULL AND reserved_at > ops.clock() - interval '1 hour';
UPDATE ops.webhook_events SET is_counted = false WHERE state IN ('received', 'launched', 'waiting');
UPDATE ops.webhook_events SET is_counted = false WHERE state IN ('dead', 'parked');
UPDATE ops.notifications SET is_counted = false WHERE state = 'pending';
CREATE INDEX ix_api_calls_uncounted ON ops.api_calls (id) WHERE NOT is_counted;
CREATE INDEX ix_token_audit_uncounted ON ops.token_audit (id) WHERE NOT is_counted;
CREATE INDEX ix_webhook_events_uncounted ON ops.webhook_events (id)
    WHERE NOT is_counted AND state IN ('done', 'discarded');
CREATE INDEX ix_notifications_uncounted ON ops.notifications (id)
    WHERE NOT is_counted AND state IN ('sent', 'failed', 'skipped');
"""
_TABLES = ("api_calls", "token_audit", "webhook_events", "notifications")


def upgrade() -> None:
    for table in _TABLES:
        op.execute(f"ALTER TABLE ops.{table} ADD COLUMN is_counted boolean DEFAULT true NOT NULL")
        op.execute(f"ALTER TABLE ops.{table} ALTER COLUMN is_counted SET DEFAULT false")
        op.execute(
            f"COMMENT ON COLUMN ops.{table}.is_counted IS 'metrics have the row in their totals (ops.metric_totals)'"
        )
    op.execute(_STATEMENTS)
    # Without statistics of the new column, half of a table's rows would be taken for uncounted, and all of it be read.
    for table in _TABLES:
        op.execute(f"ANALYZE ops.{table} (is_counted)")
