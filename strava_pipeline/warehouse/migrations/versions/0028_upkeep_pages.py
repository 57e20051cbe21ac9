"""Keep the pages of a listing that was not read to its end, so that the next turn of upkeep goes on behind them."""

from __future__ import annotations

from alembic import op

revision = "0028"
down_revision = "0027"

_STATEMENTS = """
CREATE TABLE ops.upkeep_pages (
    athlete_id bigint NOT NULL,
    before_s bigint NOT NULL,
    listed_from timestamp with time zone NOT NULL,
    listed_to timestamp with time zone NOT NULL,
    asked_at timestamp with time zone NOT NULL,
    activities text NOT NULL,
    CONSTRAINT pk_upkeep_pages PRIMARY KEY (athlete_id, before_s)
);
COMMENT ON TABLE ops.upkeep_pages IS
    'pages of a whole history that was not listed to its end; the next turn goes on behind them';
COMMENT ON COLUMN ops.upkeep_pages.athlete_id IS 'whose activities are listed';
COMMENT ON COLUMN ops.upkeep_pages.before_s IS
    'the page has activities that start before this time (s since 1970)';
COMMENT ON COLUMN ops.upkeep_pages.listed_from IS 'the listing has activities that start from here (UTC)';
COMMENT ON COLUMN ops.upkeep_pages.listed_to IS 'the listing has activities that start before this time (UTC)';
COMMENT ON COLUMN ops.upkeep_pages.asked_at IS 'when Strava was asked for the listing''s first page (UTC)';
COMMENT ON COLUMN ops.upkeep_pages.activities IS 'Strava''s answer, JSON';
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
