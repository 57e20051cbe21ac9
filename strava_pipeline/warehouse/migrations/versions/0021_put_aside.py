"""Keep why an activity is put aside, how often it was tried, and when it is due again."""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"

_STATEMENTS = """
ALTER TABLE ops.put_aside ADD COLUMN kind text, ADD COLUMN tries integer, ADD COLUMN retry_at timestamp with time zone;
UPDATE ops.put_aside SET kind = 'unusable', tries = 1, retry_at = tried_at + interval '1 day';
ALTER TABLE ops.put_aside ALTER COLUMN kind SET NOT NULL, ALTER COLUMN tries SET NOT NULL,
    ALTER COLUMN retry_at SET NOT NULL,
    ADD CONSTRAINT ck_put_aside_kind CHECK (kind IN ('unusable', 'unanswered', 'hidden'));
COMMENT ON TABLE ops.put_aside IS
    'activities that could not be stored; they are tried again after 1, 7 and 30 days, and with each backfill';
COMMENT ON COLUMN ops.put_aside.kind IS 'unusable (Strava refused, or its answer cannot be stored), unanswered (Strava '
    'failed), or hidden (Strava shows it no more: the next listing deletes it)';
COMMENT ON COLUMN ops.put_aside.tries IS 'how often it was tried';
COMMENT ON COLUMN ops.put_aside.retry_at IS 'not lacking before (UTC); a person''s backfill tries it anyway';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
