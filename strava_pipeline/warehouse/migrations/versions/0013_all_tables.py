"""All tables, as statements that stay as they are: what changes later is a revision of its own.

Revisions 0001 to 0012 came before the first release; docs/upgrading.md tells what their databases need.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0013"
down_revision = None


def upgrade() -> None:
    # Table by table, so that an error shows its statements and no others.
    for statements in Path(__file__).with_suffix(".sql").read_text(encoding="utf-8").split("\n\n"):
        op.execute(statements)
