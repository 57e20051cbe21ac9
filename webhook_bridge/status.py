"""Blueprint: the operator's page, with athletes, invitations, the inbox, dead letters and the quota."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus

from flask import Blueprint, redirect, request, session, url_for
from sqlalchemy import Connection
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response

from strava_pipeline.settings import Settings
from strava_pipeline.strava.quota.lanes import RateLimits
from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
from strava_pipeline.warehouse.archives.imports import ArchiveImport
from strava_pipeline.warehouse.archives.launches import try_again
from strava_pipeline.warehouse.archives.overview import recent_imports, told_counts
from strava_pipeline.warehouse.athletes.athlete_status import AthleteStatus, athlete_statuses, count_athletes
from strava_pipeline.warehouse.athletes.invites import MOST_PEOPLE, Invite, cancel_invite, living_invites, new_invite
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports.deletion_guard import held_back
from strava_pipeline.warehouse.imports.everybody import ask_for_all, count_without_import
from strava_pipeline.warehouse.imports.wishes import make_import, pause, resume
from strava_pipeline.warehouse.inbox import dead_letters
from strava_pipeline.warehouse.inbox.dead_letters import DeadLetter, Selection
from strava_pipeline.warehouse.inbox.overview import Inbox, inbox_overview
from strava_pipeline.warehouse.progress.import_progress import ImportProgress, earliest_end, import_progress
from strava_pipeline.warehouse.progress.import_status import ImportStatus, import_statuses
from strava_pipeline.warehouse.quota.status import QuotaStatus, quota_status
from strava_pipeline.warehouse.states import HISTORY_STEPS, EventState, GrantState, MadeBy, PausedBy, WaitingFor
from strava_pipeline.warehouse.tokens.grants import grant_of
from strava_pipeline.warehouse.upkeep.load import UpkeepLoad, upkeep_load
from strava_pipeline.web.operator_door import invite_proof
from webhook_bridge.current import current_bridge
from webhook_bridge.dagster_glance import glance_at
from webhook_bridge.health_section import Health, read_health
from webhook_bridge.hosts import base_url
from webhook_bridge.invites import signed_invite
from webhook_bridge.operator_login import operator_gate
from webhook_bridge.pages import Answer, install_pages, page
from webhook_bridge.sessions import said, say_next

ATHLETES_PER_PAGE = 25
LAST_PAGE = 100_000
LETTERS_SHOWN = 20
ARCHIVES_SHOWN = 10
LONGEST_REASON = 200
STATES = (
    EventState.RECEIVED,
    EventState.LAUNCHED,
    EventState.WAITING,
    EventState.PARKED,
    EventState.DEAD,
    EventState.DONE,
    EventState.DISCARDED,
)
# What events wait for, in words for the page.
WAITS = {
    WaitingFor.DAGSTER: "Dagster, which did not take them",
    WaitingFor.ACTIVITY: "Strava to show the activity",
    WaitingFor.STREAMS: "Strava to have the samples",
    WaitingFor.QUOTA: "room within Strava's limits",
    WaitingFor.APP: "the app to be switched on again",
    WaitingFor.OUTAGE: "the end of Strava's outage",
    WaitingFor.STRAVA: "Strava to answer again",
    WaitingFor.DATABASE: "the database to answer in time",
    WaitingFor.REPLAY: "their turn to be tried again",
}

status = Blueprint("status", __name__, template_folder="templates")
status.before_request(operator_gate)
install_pages(status)


@dataclass(frozen=True)
class Overview:
    """Everything the page shows from the database."""

    moment: datetime
    athletes: list[AthleteStatus]
    athlete_count: int
    progress: dict[int, ImportProgress]
    requests_left: int
    requests_saved: int
    earliest_end: datetime | None
    imports: dict[int, ImportStatus]
    inbox: Inbox
    invites: list[Invite]
    letters: list[DeadLetter]
    quota: QuotaStatus
    upkeep: UpkeepLoad
    held: dict[int, str]
    without_import: int
    health: Health
    archives: list[ArchiveImport]


@status.get("/")
def overview() -> Answer:
    """Show the page; it says so if Dagster does not answer, has none of our jobs, or lets some stand still."""
    number = _page_number()
    settings = current_bridge().settings
    reading = current_bridge().reader.read(partial(_look, settings=settings, number=number))
    found = reading.value
    return page(
        "status.html",
        overview=found,
        replica=reading.replica,
        glance=glance_at(current_bridge().dagster),
        dagster=settings.dagster_pages,
        webserver=settings.dagster_webserver_url,
        states=STATES,
        waits=WAITS,
        number=number,
        pages=-(-found.athlete_count // ATHLETES_PER_PAGE),
        purges=settings.purge_on_deauthorization,
        is_open=settings.dangerously_open_without_login,
        most_people=MOST_PEOPLE,
        new_invite=session.pop("new_invite", None),
        counts=told_counts,
        told=said(),
    )


@status.post("/dead-letters/<int(max=9223372036854775807):event_id>/replay")
def replay(event_id: int) -> Response:
    """Put a dead letter back into the inbox."""
    with current_bridge().engine.begin() as connection:
        found = dead_letters.replay(connection, Selection(ids=[event_id]))
        note_action(connection, Actor.OPERATOR, "replay", f"event {event_id}", ok=bool(found))
    current_bridge().wake_dispatcher()
    return _back(f"Event {event_id} is worked on again." if found else f"Event {event_id} is no dead letter any more.")


@status.post("/dead-letters/replay")
def replay_all() -> Response:
    """Put all dead letters back into the inbox."""
    with current_bridge().engine.begin() as connection:
        found = dead_letters.replay(connection, Selection())
        note_action(connection, Actor.OPERATOR, "replay", "all dead letters", detail=f"{len(found)} events")
    current_bridge().wake_dispatcher()
    return _back(f"{len(found)} dead letters are worked on again.")


@status.post("/dead-letters/<int(max=9223372036854775807):event_id>/discard")
def discard(event_id: int) -> Response:
    """Discard a dead letter for good; it stays in the table, with the reason."""
    because = request.form.get("because", "").strip()
    if not because or len(because) > LONGEST_REASON or not because.isprintable():
        raise BadRequest(f"Give a reason in one line of at most {LONGEST_REASON} characters.")
    with current_bridge().engine.begin() as connection:
        found = dead_letters.discard(connection, Selection(ids=[event_id]), by=Actor.OPERATOR, because=because)
        note_action(connection, Actor.OPERATOR, "discard", f"event {event_id}", ok=bool(found), detail=because)
    return _back(f"Event {event_id} is discarded." if found else f"Event {event_id} is no dead letter any more.")


@status.post("/imports/<int(max=9223372036854775807):athlete_id>/pause")
def pause_imports(athlete_id: int) -> Response:
    """Pause an athlete's imports; runs at work end soon."""
    with current_bridge().engine.begin() as connection:
        paused = pause(connection, athlete_id, PausedBy.OPERATOR)
        note_action(connection, Actor.OPERATOR, "pause", f"athlete {athlete_id}", ok=paused > 0)
    return _back(f"The import of athlete {athlete_id} is paused." if paused else "There was no import to pause.")


@status.post("/imports/<int(max=9223372036854775807):athlete_id>/resume")
def resume_imports(athlete_id: int) -> Response:
    """End the pause of an athlete's imports."""
    with current_bridge().engine.begin() as connection:
        resumed = resume(connection, athlete_id)
        note_action(connection, Actor.OPERATOR, "resume", f"athlete {athlete_id}", ok=resumed > 0)
    current_bridge().wake_dagster_tasks()
    return _back(f"The import of athlete {athlete_id} goes on." if resumed else "No import was paused.")


@status.post("/imports/<int(max=9223372036854775807):athlete_id>")
def ask_for_import(athlete_id: int) -> Response:
    """Ask for the import of an athlete's whole history."""
    with current_bridge().engine.begin() as connection:
        grant = grant_of(connection, athlete_id, lock=True)
        if grant is None or grant.state is GrantState.ARCHIVE_ONLY:
            raise BadRequest(f"Athlete {athlete_id} is not connected.")
        make_import(connection, athlete_id, None, None, HISTORY_STEPS, profile=True, by=MadeBy.OPERATOR)
        note_action(connection, Actor.OPERATOR, "import", f"athlete {athlete_id}")
    current_bridge().wake_dagster_tasks()
    return _back(f"The import of athlete {athlete_id} begins by itself.")


@status.post("/imports")
def ask_for_all_imports() -> Response:
    """Ask for the import of the whole history of each athlete who has none; a second call goes on where one ended."""
    done = ask_for_all(current_bridge().engine, MadeBy.OPERATOR, Actor.OPERATOR)
    current_bridge().wake_dagster_tasks()
    begin = f"Imports that begin by themselves, a few at a time: {done.asked}"
    return _back(f"{begin}; that were asked for before: {done.asked_before}.")


@status.post("/archives/<int(max=9223372036854775807):import_id>/again")
def try_archive_again(import_id: int) -> Response:
    """Let an archive import that failed wait for a run again."""
    with current_bridge().engine.begin() as connection:
        waits = try_again(connection, import_id)
        note_action(connection, Actor.OPERATOR, "import", f"archive import {import_id}", ok=waits)
    current_bridge().wake_dagster_tasks()
    return _back(f"Archive import {import_id} is tried again." if waits else "Its file is not there any more.")


@status.post("/invites")
def invite() -> Response:
    """Make a link by which others may connect, as many as the form says."""
    people = _people()
    with current_bridge().engine.begin() as connection:
        secret = new_invite(connection, invite_proof(current_bridge().settings), people)
        note_action(connection, Actor.OPERATOR, "invite", None, detail=f"for {people}")
    session["new_invite"] = f"{base_url()}{url_for('connect.invitation', invite=signed_invite(secret))}"
    return _to_links()


@status.post("/invites/cancel")
def cancel_invite_link() -> Response:
    """Cancel an invitation link."""
    name = request.form.get("name", "")
    if not name.isascii() or not name.isalnum():
        raise BadRequest("Give the link's name.")
    with current_bridge().engine.begin() as connection:
        found = cancel_invite(connection, name)
        note_action(connection, Actor.OPERATOR, "cancel", "a link to connect by", ok=found)
    say_next("The link is canceled." if found else "There is no such link any more.")
    return _to_links()


def _look(connection: Connection, settings: Settings, number: int) -> Overview:
    moment = now(connection)
    athletes = athlete_statuses(connection, ATHLETES_PER_PAGE, (number - 1) * ATHLETES_PER_PAGE)
    ids = [athlete.athlete_id for athlete in athletes]
    progress = import_progress(connection, ids, archive_details=settings.archive_details)
    rate_limits = RateLimits.from_settings(settings)
    return Overview(
        moment=moment,
        athletes=athletes,
        athlete_count=count_athletes(connection),
        progress=progress,
        requests_left=sum(each.requests_left for each in progress.values()),
        requests_saved=sum(each.requests_saved for each in progress.values()),
        earliest_end=earliest_end(connection, rate_limits, progress.values()),
        imports=_imports(connection, [athlete.athlete_id for athlete in athletes]),
        inbox=inbox_overview(connection, moment),
        invites=living_invites(connection, invite_proof(settings)),
        letters=dead_letters.find_dead_letters(connection, limit=LETTERS_SHOWN),
        quota=quota_status(connection, rate_limits, moment),
        upkeep=upkeep_load(connection, settings, moment),
        held=held_back(connection),
        without_import=count_without_import(connection),
        health=read_health(connection, moment),
        archives=recent_imports(connection, ARCHIVES_SHOWN),
    )


def _imports(connection: Connection, athlete_ids: list[int]) -> dict[int, ImportStatus]:
    """By athlete, the first import that is not complete, else the first."""
    found: dict[int, ImportStatus] = {}
    for each in import_statuses(connection, athlete_ids):
        shown = found.setdefault(each.wish.athlete_id, each)
        if shown.is_complete and not each.is_complete:
            found[each.wish.athlete_id] = each
    return found


def _people() -> int:
    given = request.form.get("people", "1")
    if not given.isascii() or not given.isdecimal() or len(given) > len(str(MOST_PEOPLE)):
        raise BadRequest(f"Give a number of people from 1 to {MOST_PEOPLE}.")
    people = int(given)
    if not 1 <= people <= MOST_PEOPLE:
        raise BadRequest(f"A link is for 1 to {MOST_PEOPLE} people.")
    return people


def _to_links() -> Response:
    return redirect(url_for("status.overview", _anchor="connect"), HTTPStatus.SEE_OTHER)


def _page_number() -> int:
    given = request.args.get("page", default=1, type=int)
    return min(max(given, 1), LAST_PAGE)


def _back(told: str) -> Response:
    say_next(told)
    return redirect(url_for("status.overview"), HTTPStatus.SEE_OTHER)
