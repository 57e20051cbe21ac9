"""Keep private activities of athletes who show fewer activities than when these were listed."""

from __future__ import annotations

from alembic import op

revision = "0026"
down_revision = "0025"

_STATEMENTS = """
-- Private activities were listed with this permission: who has not granted it any more loses none of them.
INSERT INTO ops.histories (athlete_id, scopes)
    SELECT DISTINCT a.athlete_id, ARRAY['activity:read_all']
    FROM strava.activities AS a JOIN ops.users AS u ON u.athlete_id = a.athlete_id AND u.state <> 'revoked'
    WHERE a.private
    ON CONFLICT DO NOTHING;
"""


def upgrade() -> None:
    op.execute(_STATEMENTS)
