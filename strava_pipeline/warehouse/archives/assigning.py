"""Says of each file which activity it records, anew whenever something near it changes.

A file that a row of an archive names is that row's. Any other may be a ride that Strava tells of; else it is an
activity of its own, with a negative id.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, or_, select, union, update

from strava_pipeline.warehouse.archives.files import figures_from_json
from strava_pipeline.warehouse.archives.matching import Match, Outline, match
from strava_pipeline.warehouse.archives.merged_rows import told_outline
from strava_pipeline.warehouse.archives.sources import Sources, load_told
from strava_pipeline.warehouse.locks import Lock, acquire
from strava_pipeline.warehouse.schema.archive_tables import archive_files
from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.tables import activities

# A file may begin so long before the activity that was cropped from it, or after it.
NEAR = timedelta(days=1)
NO_TIME = "it tells no time, so it can be no activity of its own"
OF_ANOTHER = "another athlete handed in the same file before, so it is that athlete's activity"
# From (UTC) until.
Period = tuple[datetime, datetime]
_f, _a = archive_files.c, activities.c


@dataclass(frozen=True)
class Assigned:
    """The activities whose files changed; ``moved``: of those whose file is another activity's by now, which."""

    touched: frozenset[int] = frozenset()
    moved: Mapping[int, int] = field(default_factory=dict)


def assign_files(
    connection: Connection, athlete_id: int, activity_ids: Collection[int], around: Period | None = None
) -> Assigned:
    """Decide anew about the files of these activities, those near them, and those about which nobody has decided.

    ``around``: more of the time in which files are near.
    """
    told = load_told(connection, activity_ids)
    files = _files(connection, athlete_id, activity_ids, told, around)
    if not files:
        return Assigned()
    by_recording = defaultdict(list)
    for file in files:
        by_recording[file.recording_id].append(file)
    named = {file.row_id for file in files if file.row_id is not None} - told.keys()
    told |= load_told(connection, named)
    loose = [file for file in files if file.row_id not in told]
    candidates = _candidates(connection, athlete_id, loose, told)
    matches = {recording: _match_of(recording, same, told, candidates) for recording, same in by_recording.items()}
    matches |= _refused_by_others(connection, athlete_id, matches, files)
    touched: set[int] = set()
    moved: dict[int, int] = {}
    changed: list[tuple[Row[Any], Match]] = []
    for recording, same in by_recording.items():
        shared = matches[recording]
        for file in same:
            found = Match(file.row_id) if file.row_id in told else shared
            if (file.activity_id, file.doubt) == (found.activity_id, found.doubt):
                continue
            changed.append((file, found))
            touched |= {each for each in (file.activity_id, found.activity_id) if each is not None}
            if file.activity_id is not None and file.activity_id < 0 < (found.activity_id or 0):
                moved[file.activity_id] = found.activity_id or 0
    _assign(connection, changed)
    _move_mails(connection, moved)
    return Assigned(frozenset(touched), moved)


def _files(
    connection: Connection,
    athlete_id: int,
    activity_ids: Collection[int],
    told: Mapping[int, Sources],
    around: Period | None,
) -> list[Row[Any]]:
    """The readable files in question, with all that hold the same recording."""
    periods = [
        *_stored_periods(connection, activity_ids),
        *_periods(told_outline(*each) for each in told.items()),
        *([] if around is None else [around]),
    ]
    # Each of these is found by an index of its own, so that the others of a long history are not read.
    in_question = [
        select(_f.recording_id).where(any_of(_f.activity_id, activity_ids)),
        select(_f.recording_id).where(any_of(_f.row_id, activity_ids)),
        select(_f.recording_id).where(
            _f.athlete_id == athlete_id, _f.activity_id.is_(None), _f.doubt.is_(None), _f.fault.is_(None)
        ),
    ]
    if periods:
        in_question.append(
            select(_f.recording_id)
            .join(activities, _a.id == _f.activity_id)
            .where(_a.athlete_id == athlete_id, _starts_near(periods), _f.row_id.is_distinct_from(_f.activity_id))
        )
    recordings = set(connection.execute(union(*in_question)).scalars())
    recordings |= {-activity_id for activity_id in activity_ids if activity_id < 0}
    if not recordings:
        return []
    columns = (*archive_files.primary_key, _f.athlete_id, _f.row_id, _f.activity_id, _f.doubt, _f.figures)
    query = select(*columns).where(_f.athlete_id == athlete_id, any_of(_f.recording_id, recordings), _f.fault.is_(None))
    return list(connection.execute(query.order_by(*archive_files.primary_key)))


def period_of(connection: Connection, activity_ids: Collection[int]) -> Period | None:
    """Return the time from the first to the last of these activities, as they are stored; ``None`` if none is."""
    periods = _stored_periods(connection, activity_ids)
    return (min(begin for begin, _ in periods), max(end for _, end in periods)) if periods else None


def _stored_periods(connection: Connection, activity_ids: Collection[int]) -> list[Period]:
    stored = connection.execute(select(_a.id, _a.start_date, _a.elapsed_time).where(any_of(_a.id, activity_ids)))
    return _periods(Outline(row.id, row.start_date, row.elapsed_time, None) for row in stored)


def _periods(outlines: Iterable[Outline | None]) -> list[Period]:
    """From start to end of each outline that there is."""
    return [(each.start, each.start + timedelta(seconds=each.elapsed_s or 0)) for each in outlines if each is not None]


def _starts_near(periods: Collection[Period]) -> ColumnElement[bool]:
    """The condition that an activity starts near one of the periods, which may lie years apart."""
    merged: list[Period] = []
    for begin, end in sorted((begin - NEAR, end + NEAR) for begin, end in periods):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return or_(*(_a.start_date.between(begin, end) for begin, end in merged))


def _candidates(
    connection: Connection, athlete_id: int, loose: Iterable[Row[Any]], told: Mapping[int, Sources]
) -> list[Outline]:
    """The activities that Strava tells of around these files."""
    outlines = [each for each in (_outline(file) for file in loose) if each is not None]
    if not outlines:
        return []
    query = select(_a.id).where(_a.athlete_id == athlete_id, _a.id > 0, _starts_near(_periods(outlines)))
    known = dict(told) | load_told(connection, set(connection.execute(query).scalars()) - told.keys())
    found = (told_outline(activity_id, sources) for activity_id, sources in known.items())
    return [each for each in found if each is not None]


def _refused_by_others(
    connection: Connection, athlete_id: int, matches: Mapping[int, Match], files: Iterable[Row[Any]]
) -> dict[int, Match]:
    """What becomes of recordings that are to be activities of their own, and are those of other athletes."""
    own = {recording for recording, found in matches.items() if found.activity_id == -recording}
    if own - {file.recording_id for file in files if file.activity_id == -file.recording_id}:
        # Another athlete may be handing in the same file just now: who commits first has the activity.
        acquire(connection, Lock.OWNERS)
    ids = [-recording for recording in own]
    others = select(_a.id).where(any_of(_a.id, ids), _a.athlete_id != athlete_id)
    return {-activity_id: Match(doubt=OF_ANOTHER) for activity_id in connection.execute(others).scalars()}


def _outline(file: Row[Any]) -> Outline | None:
    """Start, length and distance by the file; ``None`` if it tells no time."""
    figures = figures_from_json(file.figures or {})
    start = figures.get("start_date")
    if start is None:
        return None
    return Outline(-file.recording_id, start, figures.get("elapsed_time"), figures.get("distance"))


def _match_of(
    recording: int, same: Collection[Row[Any]], told: Mapping[int, Sources], candidates: Collection[Outline]
) -> Match:
    """What a recording is taken for where no row names it."""
    outline = next((each for each in map(_outline, same) if each is not None), None)
    named = {file.row_id for file in same if file.row_id in told}
    if named:
        # The same recording, as an archive has it: no doubt is left.
        starts = {each.id: each.start for each in candidates if each.id in named}
        if outline is None or not starts:
            return Match(min(named))
        return Match(min(starts, key=lambda each: (abs(starts[each] - outline.start), each)))
    if outline is None:
        return Match(doubt=NO_TIME)
    found = match(outline, candidates)
    return found if found.activity_id is not None else Match(-recording, found.doubt)


def _assign(connection: Connection, changed: Sequence[tuple[Row[Any], Match]]) -> None:
    if not changed:
        return
    this = (_f.import_id == bindparam("of"), _f.recording_id == bindparam("recording"), _f.name == bindparam("named"))
    assigning = update(archive_files).where(*this).values(activity_id=bindparam("taken_for"), doubt=bindparam("why"))
    rows = [
        {
            "of": file.import_id,
            "recording": file.recording_id,
            "named": file.name,
            "taken_for": found.activity_id,
            "why": found.doubt,
        }
        for file, found in changed
    ]
    connection.execute(assigning, rows)


def _move_mails(connection: Connection, moved: Mapping[int, int]) -> None:
    """Let mails about an activity of a file be about Strava's, unless there is one already."""
    n, other = notifications.c, notifications.alias("other")
    for own, activity_id in moved.items():
        there = select(other.c.id).where(other.c.activity_id == activity_id, other.c.kind == n.kind).exists()
        connection.execute(update(notifications).where(n.activity_id == own, ~there).values(activity_id=activity_id))
