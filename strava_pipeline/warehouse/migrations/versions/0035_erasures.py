"""Mark athletes whose data are being deleted in batches; find their backfills by index.

Segments without efforts go now, since later an erasure looks only at those that it leaves without one.
"""

from __future__ import annotations

from alembic import op

revision = "0035"
down_revision = "0034"

_STATEMENTS = """
CREATE TABLE ops.erasures (
    athlete_id bigint NOT NULL,
    begun_at timestamp with time zone DEFAULT ops.clock() NOT NULL,
    actor text NOT NULL,
    deleted bigint DEFAULT 0 NOT NULL,
    CONSTRAINT pk_erasures PRIMARY KEY (athlete_id)
);
COMMENT ON TABLE ops.erasures IS 'athletes whose data are being deleted; a row goes once nothing is left';
COMMENT ON COLUMN ops.erasures.athlete_id IS 'whose data are being deleted';
COMMENT ON COLUMN ops.erasures.begun_at IS 'when that was decided (UTC)';
COMMENT ON COLUMN ops.erasures.actor IS 'on whose word: operator, athlete, command or strava';
COMMENT ON COLUMN ops.erasures.deleted IS 'rows deleted so far';
COMMENT ON COLUMN ops.operator_audit.action IS
    'connect, disconnect, erase (the data are deleted), import, pause, resume, replay, discard, login, logout,'
    ' invite, cancel';
CREATE INDEX ix_job_progress_athlete_id ON ops.job_progress (athlete_id);
DELETE FROM strava.segments AS s
    WHERE NOT EXISTS (SELECT FROM strava.segment_efforts AS e WHERE e.segment_id = s.id);
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
