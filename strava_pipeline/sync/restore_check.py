"""Compares a database that was restored from a backup with what has happened since, before anything else calls Strava.

Whoever left after the backup is erased again, by the list of erasures, without a call. Of everybody else Strava is
asked for the profile, one call each: a token that Strava refuses was replaced after the backup, or its athlete has
left, and nobody can tell which; so nothing is deleted, and the athlete must connect again. The first answers also tell
how much of the quota was used since, before anybody else calls.

A check may die at any point, or run twice: it goes on with whoever was not looked after. When all were, calls go again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine

from strava_pipeline.errors import (
    AppInactive,
    ClientRefused,
    MissingScope,
    NeedsReauthorization,
    QuotaExhausted,
    StravaAway,
    StravaError,
    UnknownAthlete,
)
from strava_pipeline.log_context import log_ids
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.strava.client import StravaClient
from strava_pipeline.sync.access import open_checking_client
from strava_pipeline.sync.erasing import finish_erasure
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.after_restore import (
    ToCheck,
    Undone,
    athletes_to_check,
    begin_check,
    checked,
    end_check,
    note_checked,
)
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.erasure_list import Departure, Departures, Extent
from strava_pipeline.warehouse.restored import load_belonging, unchecked_line
from strava_pipeline.warehouse.states import WITHOUT_GRANT, GrantState, RestoreOutcome
from strava_pipeline.warehouse.tokens.grants import grant_of

log = get_logger(__name__)

CAUSE = "had left after the backup that was restored"
# After these the next athlete's call would fail as well.
STOPS = (QuotaExhausted, StravaAway, AppInactive, ClientRefused)


@dataclass(frozen=True)
class Passed:
    """What a check found of all athletes; ``unasked``: why Strava told nothing of some, who must be asked again."""

    connected: list[int]
    must_reconnect: list[int]
    erased: list[int]
    unasked: dict[int, str] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether everybody was looked after, so that calls go again."""
        return not self.unasked

    def __str__(self) -> str:
        return (
            f"{len(self.connected)} connected, {len(self.must_reconnect)} must connect again,"
            f" {len(self.erased)} erased again"
        )


def why_needed(engine: Engine) -> str | None:
    """Return one line that says why a check is to be made, or to be finished; ``None`` if it is not."""
    with autocommit(engine) as connection:
        belonging = load_belonging(connection)
    return unchecked_line(belonging) if belonging.holds_calls else None


def begin(engine: Engine, *, anew: bool = False, undo: bool = True) -> Undone | None:
    """Hold all calls but the check's, and undo what the backup brought back; ``None`` if that was done before.

    ``anew``: the tables were restored into the very database that they came from, which nothing else tells. Without
    ``undo`` they were only moved.
    """
    with engine.begin() as connection:
        return begin_check(connection, anew=anew, undo=undo)


def erase_departed(settings: Settings, engine: Engine, departures: Departures) -> Iterator[tuple[int, int]]:
    """Erase again whoever left after the grant that the backup has; yield each, and how many rows were deleted.

    A departure from before that grant is none: the athlete came back. Makes no call to Strava.
    """
    with engine.connect() as connection:
        back = came_back(connection, departures)
    for athlete, left in back:
        with log_ids(athlete_id=athlete.athlete_id):
            keep = left.extent is Extent.DISCONNECTED
            begin_erasure(engine, athlete.athlete_id, keep_data=keep, actor=Actor.COMMAND, cause=CAUSE)
            rows = finish_erasure(settings, engine, athlete.athlete_id)
            _note(engine, athlete.athlete_id, RestoreOutcome.ERASED)
        yield athlete.athlete_id, rows


def came_back(connection: Connection, departures: Departures) -> list[tuple[ToCheck, Departure]]:
    """Return whom the tables have although they have left, and the departure; a check forgets who was looked after."""
    found = [(athlete, departures.last_of(athlete.athlete_id)) for athlete in athletes_to_check(connection)]
    return [
        (athlete, left)
        for athlete, left in found
        if left is not None and left.at >= athlete.granted_at and _brings_back(athlete, left)
    ]


def asks_for_anybody(engine: Engine) -> bool:
    """Whether a check would ask Strava for somebody: who never connected is not asked for."""
    with engine.connect() as connection:
        return bool(_to_ask(connection))


def _to_ask(connection: Connection) -> list[ToCheck]:
    return [each for each in athletes_to_check(connection) if each.state not in WITHOUT_GRANT]


def ask_for_all(settings: Settings, engine: Engine, told: Callable[[int, int], None]) -> dict[int, str]:
    """Ask Strava for everybody who seems connected and was not looked after; ``told`` gets how many of how many.

    Returns whom Strava told nothing of, and why: they are asked again next time. Raises what would stop the next call
    as well: ``QuotaExhausted``, ``StravaAway``, ``AppInactive``, ``ClientRefused``, ``ConfigurationError``.
    """
    with engine.connect() as connection:
        waiting = _to_ask(connection)
    client = open_checking_client(settings, engine)
    unasked: dict[int, str] = {}
    for number, athlete in enumerate(waiting):
        told(number, len(waiting))
        with log_ids(athlete_id=athlete.athlete_id):
            try:
                outcome = _ask(engine, client, athlete)
            except STOPS:
                raise
            except StravaError as error:
                log.warning("athlete %d could not be asked for: %s", athlete.athlete_id, error)
                unasked[athlete.athlete_id] = str(error)
            else:
                if outcome is not None:
                    _note(engine, athlete.athlete_id, outcome)
    told(len(waiting), len(waiting))
    return unasked


def accept_all(engine: Engine) -> None:
    """Take everybody's tokens for good without asking: the tables were moved, and nothing happened since."""
    with engine.begin() as connection:
        for athlete in athletes_to_check(connection):
            if athlete.state is GrantState.ACTIVE:
                note_checked(connection, athlete.athlete_id, RestoreOutcome.CONNECTED)
            elif athlete.state is GrantState.NEEDS_REAUTH:
                note_checked(connection, athlete.athlete_id, RestoreOutcome.RECONNECT)


def end(engine: Engine, unasked: dict[int, str]) -> Passed:
    """Let calls go if everybody was looked after; return what was found."""
    with engine.begin() as connection:
        found = checked(connection)
        passed = Passed(
            found[RestoreOutcome.CONNECTED], found[RestoreOutcome.RECONNECT], found[RestoreOutcome.ERASED], unasked
        )
        if passed.is_whole:
            end_check(connection, str(passed))
    return passed


def _brings_back(athlete: ToCheck, left: Departure) -> bool:
    """Whether the tables have anything of an athlete that the departure had taken away."""
    if athlete.state is not GrantState.REVOKED:
        return True
    return left.extent is Extent.ERASED and athlete.has_data


def _ask(engine: Engine, client: StravaClient, athlete: ToCheck) -> RestoreOutcome | None:
    """Whether the athlete's tokens work; ``None`` if the athlete was disconnected meanwhile."""
    if athlete.state is GrantState.NEEDS_REAUTH:
        return RestoreOutcome.RECONNECT
    try:
        client.get_athlete(athlete.athlete_id)
    except UnknownAthlete:
        return None
    except NeedsReauthorization:
        return _outcome_of_refusal(engine, athlete)
    except MissingScope:
        pass  # Strava knows the token
    return RestoreOutcome.CONNECTED


def _outcome_of_refusal(engine: Engine, athlete: ToCheck) -> RestoreOutcome | None:
    with engine.connect() as connection:
        grant = grant_of(connection, athlete.athlete_id)
    if grant is None or grant.state is GrantState.REVOKED:
        return None
    if grant.state is GrantState.ACTIVE:
        # The access token was refused, but not its refresh: that proves nothing yet.
        raise StravaError("Strava refuses the access token, and gave a new one: ask again")
    return RestoreOutcome.RECONNECT


def _note(engine: Engine, athlete_id: int, outcome: RestoreOutcome) -> None:
    with engine.begin() as connection:
        note_checked(connection, athlete_id, outcome)
