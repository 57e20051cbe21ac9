"""Failed runs that were told."""

from __future__ import annotations

from alembic import op

revision = "0042"
down_revision = "0041"

_STATEMENTS = """
CREATE TABLE ops.failed_runs (
    run_id text NOT NULL,
    ended_at timestamp with time zone NOT NULL,
    found_at timestamp with time zone DEFAULT ops.clock() NOT NULL,
    told_at timestamp with time zone,
    CONSTRAINT pk_failed_runs PRIMARY KEY (run_id)
);
COMMENT ON TABLE ops.failed_runs IS 'runs of ours that failed in Dagster, so that each is told once';
COMMENT ON COLUMN ops.failed_runs.run_id IS 'Dagster''s id of the run';
COMMENT ON COLUMN ops.failed_runs.ended_at IS 'when it failed, by Dagster''s clock (UTC)';
COMMENT ON COLUMN ops.failed_runs.found_at IS 'when a bridge found it (UTC)';
COMMENT ON COLUMN ops.failed_runs.told_at IS
    'when a message about it was made (UTC); empty: its events are told as dead letters';
CREATE INDEX ix_failed_runs_ended_at ON ops.failed_runs (ended_at);
CREATE INDEX ix_failed_runs_found_at ON ops.failed_runs (found_at);
CREATE INDEX ix_failed_runs_told_at ON ops.failed_runs (told_at);
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
