"""Learns words for sports from activities that both the archive and Strava's API tell of."""

from __future__ import annotations

from sqlalchemy import Connection, exists, select

from strava_pipeline.files.archive.sports import learned_words, sport_of
from strava_pipeline.warehouse.schema.archive_tables import archive_rows
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities

_r, _a = archive_rows.c, activities.c


def load_learned_words(connection: Connection, athlete_id: int) -> dict[str, str]:
    """Return sports by those of an athlete's words that nobody knows, as the API names the same activities."""
    told = exists().where(payloads.c.activity_id == _a.id)
    # Of most athletes of archives the API tells nothing, which one look says of all rows.
    any_told = exists().where(payloads.c.athlete_id == athlete_id).correlate(None)
    query = (
        select(_r.activity_id, _r.unknown_word, _a.sport_type)
        .join(activities, _a.id == _r.activity_id)
        .where(_r.athlete_id == athlete_id, _r.unknown_word.is_not(None), any_told, told)
        .distinct()
        .order_by(_a.sport_type, _r.unknown_word, _r.activity_id)
    )
    return learned_words((row.unknown_word, row.sport_type) for row in connection.execute(query))


def of_another_sport_by_now(
    connection: Connection, athlete_id: int, learned: dict[str, str], *, forgotten: bool
) -> set[int]:
    """Return the activities that only an archive tells of, and whose word now means another sport.

    ``forgotten``: words may have been forgotten; then all whose word means nothing are looked at again.
    """
    query = (
        select(_r.activity_id, _r.unknown_word, _a.sport_type)
        .join(activities, _a.id == _r.activity_id)
        .where(_r.athlete_id == athlete_id, _r.unknown_word.is_not(None), _a.told_by_api.is_(False))
    )
    found = set()
    for activity_id, word, sport_type in connection.execute(query):
        sport = sport_of(word, learned)
        if forgotten if sport is None else sport != sport_type:
            found.add(activity_id)
    return found
