"""Sessions of the operator are kept here, so that they end here."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "operator_sessions",
        sa.Column("secret_hash", sa.Text(), nullable=False, comment="sha256 of what the browser holds"),
        sa.Column("kind", sa.Text(), nullable=False, comment="session, or link: a link that signs in once"),
        sa.Column(
            "proof",
            sa.Text(),
            nullable=False,
            comment="of the token and the settings it was opened under; tells nothing of them",
        ),
        sa.Column(
            "opened_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was made (UTC)",
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False, comment="no longer good from here (UTC)"),
        sa.CheckConstraint("kind IN ('session', 'link')", name="kind"),
        sa.PrimaryKeyConstraint("secret_hash", name=op.f("pk_operator_sessions")),
        schema="ops",
        comment="browsers that are logged in as the operator; what is not here is logged out",
    )
