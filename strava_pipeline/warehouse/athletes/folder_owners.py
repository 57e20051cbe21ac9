"""Whose files in the watched folder are taken: of a single athlete also those that lie in no folder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, select

from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.states import GrantState

_c = users.c


@dataclass(frozen=True)
class FolderOwners:
    """``single``: the one athlete whose data are kept, if there is exactly one. ``gone``: athletes who have left.

    ``is_nobodys``: there is no athlete at all.
    """

    single: int | None = None
    gone: frozenset[int] = frozenset()
    is_nobodys: bool = False


def folder_owners(connection: Connection, athlete_ids: Collection[int]) -> FolderOwners:
    """Return the single athlete, if there is one, and which of ``athlete_ids`` have left."""
    is_gone = _c.state == GrantState.REVOKED
    left = select(_c.athlete_id).where(any_of(_c.athlete_id, list(athlete_ids)), is_gone)
    staying = connection.execute(select(_c.athlete_id).where(~is_gone).limit(2)).scalars().all()
    single = staying[0] if len(staying) == 1 else None
    return FolderOwners(single, frozenset(connection.execute(left).scalars()), not staying)
