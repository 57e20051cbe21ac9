"""Keep what is compared with Strava again and again, and when it is due."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"

_STATEMENTS = """
CREATE TABLE ops.upkeep (
    athlete_id bigint NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    due_at timestamp with time zone NOT NULL,
    done_at timestamp with time zone,
    requests integer,
    failures integer NOT NULL,
    error text,
    takes bigint NOT NULL,
    lease_until timestamp with time zone,
    CONSTRAINT pk_upkeep PRIMARY KEY (athlete_id, kind, subject),
    CONSTRAINT ck_upkeep_kind CHECK (kind IN ('recent', 'history', 'profile', 'gear', 'details'))
);
CREATE INDEX ix_upkeep_due_at ON ops.upkeep (due_at);
COMMENT ON TABLE ops.upkeep IS 'what is compared with Strava again and again, and when it is due next';
COMMENT ON COLUMN ops.upkeep.athlete_id IS 'whose data; 0: of all athletes';
COMMENT ON COLUMN ops.upkeep.kind IS 'recent, history, profile, gear or details';
COMMENT ON COLUMN ops.upkeep.subject IS 'for gear: its id; else empty';
COMMENT ON COLUMN ops.upkeep.due_at IS 'when it is due (UTC); the most overdue goes first';
COMMENT ON COLUMN ops.upkeep.done_at IS 'when it was last done (UTC)';
COMMENT ON COLUMN ops.upkeep.requests IS 'requests to Strava that it took then';
COMMENT ON COLUMN ops.upkeep.failures IS 'how often it failed in a row';
COMMENT ON COLUMN ops.upkeep.error IS 'why it last failed, in one line; empty: it was done';
COMMENT ON COLUMN ops.upkeep.takes IS
    'how often it was taken up; a worker with an older number may not end it';
COMMENT ON COLUMN ops.upkeep.lease_until IS
    'a worker is at it until here (UTC) unless that is extended; empty: nobody';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
