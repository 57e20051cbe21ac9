"""Blueprint: an athlete connects by Strava's consent page, and is disconnected by the operator.

The operator may connect; others need an invitation link of the operator's with a free place.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from flask import Blueprint, redirect, request, url_for
from sqlalchemy import Connection
from werkzeug.exceptions import BadRequest, Forbidden
from werkzeug.wrappers import Response

from strava_pipeline.errors import (
    AppInactive,
    ConfigurationError,
    ErasureUnderWay,
    InviteAlreadyUsed,
    RejectedRequest,
    RestoreUnchecked,
    RetriableStravaError,
    StravaPipelineError,
    UnknownAthlete,
)
from strava_pipeline.log_context import add_log_ids
from strava_pipeline.notifications.addresses import checked_address
from strava_pipeline.redaction import get_logger
from strava_pipeline.strava.faults import is_dead_code
from strava_pipeline.strava.http import new_session
from strava_pipeline.strava.mapping.athlete import athlete_row
from strava_pipeline.strava.oauth import (
    ACTIVITY_SCOPES,
    WANTED_SCOPES,
    TokenGrant,
    authorize_url,
    checked_code,
    claimed_scopes,
    exchange_code,
)
from strava_pipeline.sync.access import open_tokens
from strava_pipeline.sync.disconnect import disconnect
from strava_pipeline.sync.erasing import finish_within
from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
from strava_pipeline.warehouse.athletes.dagster_tasks import set_task
from strava_pipeline.warehouse.athletes.profiles import store_athlete
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports.wishes import make_import
from strava_pipeline.warehouse.mail.consent import consent_of
from strava_pipeline.warehouse.states import HISTORY_STEPS, DagsterTask, MadeBy
from strava_pipeline.warehouse.tokens import oauth_states
from strava_pipeline.warehouse.tokens.oauth_states import Began, Ended, TooManyOpen
from webhook_bridge.current import current_bridge
from webhook_bridge.hosts import base_url_for_strava
from webhook_bridge.invites import USED_UP, is_invited, link_name, place_on_invite, remember, take_invite
from webhook_bridge.operator_login import operator_gate, require_token
from webhook_bridge.operator_session import is_operator
from webhook_bridge.pages import Answer, install_pages, message, page
from webhook_bridge.sessions import said, say_next, session_id

log = get_logger(__name__)

# Characters; our states have 43.
LONGEST_STATE = 100
# Characters; Strava's errors are one word.
LONGEST_ERROR = 100
# How long an athlete who is back waits on the page until their earlier data are deleted; some thousand rides take less.
ERASURE_SECONDS = 20.0
# Digits; every number with so many fits into a BIGINT.
LONGEST_ID = 18
CONFIRM = (
    "You will get a mail to confirm your address; if many were sent to it, that may take up to a day. Open its link"
    " within a week and press the button there: ride summaries begin after that."
)
NO_MAILS_YET = (
    "This installation sends no mails yet. If it does within a week, you will get a mail to confirm your address;"
    " otherwise the address is erased."
)

connect = Blueprint("connect", __name__, template_folder="templates")
connect.before_request(require_token)
install_pages(connect)


class AnotherAthlete(StravaPipelineError):
    """An athlete tried to connect by a place on an invitation that another athlete has used."""


@dataclass(frozen=True)
class Told:
    """The content of Strava's redirect: a code and the claimed scopes; no code if access was declined."""

    state: str
    code: str | None
    scopes: tuple[str, ...]


@connect.get("/connect")
def invitation() -> Answer:
    """Show the page that explains the connection, with the button that leads to Strava."""
    _check_may_connect()
    return _invitation()


@connect.get("/oauth/connect")
def begin() -> Answer | Response:
    """Redirect to Strava's consent page."""
    _check_may_connect()
    return _to_strava(None)


@connect.post("/oauth/connect")
def begin_with_address() -> Answer | Response:
    """Redirect to Strava's consent page; keep the address for ride summaries, if one was given."""
    _check_may_connect()
    try:
        return _to_strava(_checked_email(request.form.get("email", "")))
    except ValueError:
        return _invitation(HTTPStatus.BAD_REQUEST, bad_email=request.form["email"])


@connect.get("/oauth/callback")
def callback() -> Answer | Response:
    """Exchange the code with which Strava sends the browser back, then redirect to an address without the code."""
    try:
        told = _told()
    except RejectedRequest:
        return _sorry("This is not an answer from Strava", "Begin again from the start.", HTTPStatus.BAD_REQUEST)
    with current_bridge().engine.begin() as connection:
        began = oauth_states.redeem(connection, told.state, session_id())
    if isinstance(began, Ended):
        return _ended(began)
    if told.code is None or ACTIVITY_SCOPES.isdisjoint(told.scopes):
        return _not_allowed(told)
    try:
        is_connected = _connect(told.code, told.scopes, began)
    except ConfigurationError:
        raise  # trying again would not help; install_pages has a page for this error
    except StravaPipelineError as error:
        return _failed(error)
    if not is_connected:
        return message("This link is used up", USED_UP, HTTPStatus.GONE)
    lacking = ",".join(scope for scope in WANTED_SCOPES if scope not in told.scopes)
    return redirect(url_for("connect.connected", lacks=lacking or None), HTTPStatus.SEE_OTHER)


@connect.get("/oauth/connected")
def connected() -> Answer:
    """Show that the athlete is connected, at an address without state and code."""
    told = request.args.get("lacks", "").split(",")
    lacks = [scope for scope in WANTED_SCOPES if scope in told]
    return page("connected.html", lacks=lacks, is_operator=is_operator(), told=said())


@connect.post("/oauth/disconnect")
def disconnect_athlete() -> Answer | Response:
    """Disconnect an athlete: revoke the grant at Strava, erase tokens and address, decide whether the data go.

    Only the operator may do this. The thread for tasks in Dagster deletes the data.
    """
    operator_gate()
    given = request.form.get("athlete", "")
    if not given.isascii() or not given.isdecimal() or len(given) > LONGEST_ID:
        raise BadRequest("Give the athlete's id.")
    settings, engine = current_bridge().settings, current_bridge().engine
    keep_data = not settings.purge_on_deauthorization
    try:
        gone = disconnect(settings, engine, int(given), keep_data=keep_data, actor=Actor.OPERATOR)
    except UnknownAthlete:
        raise BadRequest(f"Athlete {given} is not connected.") from None
    _wake_dagster_tasks()
    told = f"Athlete {given} is disconnected; "
    told += "the data are deleted from now on." if gone.erasure.deletes_data else "the data stay."
    if gone.left_at_strava is not None:
        told += " The grant still stands at Strava: ask the athlete to end it there, under My Apps."
    say_next(told)
    return redirect(url_for("status.overview"), HTTPStatus.SEE_OTHER)


def _check_may_connect() -> None:
    if invite := request.args.get("invite"):
        take_invite(invite)
    if not is_operator() and not is_invited():
        raise Forbidden("To connect you need a link that has not ended. Ask the operator for one.")


def _invitation(status: int = HTTPStatus.OK, *, bad_email: str | None = None) -> Answer:
    mails = current_bridge().settings.smtp_url is not None
    return page("connect.html", status, is_operator=is_operator(), sends_mails=mails, bad_email=bad_email)


def _to_strava(email: str | None) -> Answer | Response:
    settings = current_bridge().settings
    settings.require("client_id", "client_secret")  # fails here rather than on the way back from Strava
    redirect_uri = f"{base_url_for_strava()}{url_for('connect.callback')}"
    link = None if is_operator() else link_name()
    try:
        with current_bridge().engine.begin() as connection:
            state = oauth_states.begin(connection, session_id(), email, link)
    except TooManyOpen:
        text = "Too many connections are under way by this link. Try again in ten minutes."
        return _sorry("Too many at once", text, HTTPStatus.TOO_MANY_REQUESTS)
    # After a form, 303 makes the browser send GET.
    how = HTTPStatus.SEE_OTHER if request.method == "POST" else HTTPStatus.FOUND
    return redirect(authorize_url(settings, redirect_uri, state=state), how)


def _told() -> Told:
    """Read Strava's redirect. ``RejectedRequest`` if Strava would not send it so; state and code remain unused."""
    given = {name: request.args.getlist(name) for name in ("state", "code", "error", "scope")}
    if any(len(texts) > 1 for texts in given.values()) or bool(given["code"]) == bool(given["error"]):
        raise RejectedRequest("the redirect has not exactly one of code and error, or a parameter twice")
    state, error = "".join(given["state"]), "".join(given["error"])
    for text, most in ((state, LONGEST_STATE), (error, LONGEST_ERROR)):
        if not text.isascii() or not text.isprintable() or len(text) > most:
            raise RejectedRequest("the state or the error is too long, or not printable ASCII")
    scopes = claimed_scopes(given["scope"][0] if given["scope"] else None)
    return Told(state, checked_code(given["code"][0]) if given["code"] else None, scopes)


def _checked_email(given: str) -> str | None:
    """The given address; ``None`` if the field is empty. ``ValueError`` if it is no address."""
    given = given.strip()
    return checked_address(given) if given else None


def _not_allowed(told: Told) -> Answer:
    text = (
        "Access was declined on Strava's page. Nothing was stored."
        if told.code is None
        else "You did not give the permission to see activities, and without it Strava shows none. Try again, and leave"
        " the boxes on Strava's page ticked."
    )
    return _sorry("Not connected", text, HTTPStatus.FORBIDDEN)


def _connect(code: str, scopes: tuple[str, ...], began: Began) -> bool:
    """Store the tokens for a code. False, with nothing stored, if the browser may not connect any more."""
    if is_operator():
        _finish(code, scopes, began, Actor.OPERATOR)
        return True
    failure: StravaPipelineError | None = None
    with place_on_invite() as place:
        if place is None:
            return False
        try:
            place.use_up(_finish(code, scopes, began, Actor.ATHLETE, only=place.athlete_id))
        except StravaPipelineError as error:
            # Raised after the block: raised inside, it would undo the count of attempts.
            failure = error
    if isinstance(failure, AnotherAthlete | InviteAlreadyUsed):
        log.warning("%s", failure)
        return False
    if failure is not None:
        raise failure
    remember(place)
    return True


def _finish(code: str, scopes: tuple[str, ...], began: Began, actor: Actor, *, only: int | None = None) -> int:
    """Exchange the code, store tokens and profile; returns the athlete's id. ``AnotherAthlete`` if not ``only``."""
    settings, engine = current_bridge().settings, current_bridge().engine
    link = link_name() if actor is Actor.ATHLETE else None

    def exchange() -> TokenGrant:
        grant = exchange_code(settings, new_session(settings.ca_bundle), code)
        athlete_id = (grant.athlete or {})["id"]
        add_log_ids(athlete_id=athlete_id)
        if only is not None and athlete_id != only:
            raise AnotherAthlete(f"another athlete used the link of athlete {only}: nothing was stored")
        # Of an athlete who is back nothing old is left, and nothing new is deleted; storing is refused until then.
        finish_within(settings, engine, athlete_id, ERASURE_SECONDS)
        return grant

    tokens = open_tokens(settings, engine)
    athlete_id, grant = tokens.store_exchange(exchange, scopes, email=began.email, link=link, also=_ask_for_import)
    with engine.begin() as connection:
        note_action(connection, actor, "connect", f"athlete {athlete_id}", detail=f"scopes {','.join(scopes)}")
        store_athlete(connection, athlete_row(grant.athlete or {}), now(connection))
        consent = consent_of(connection, athlete_id)
    if began.email is not None and consent is not None and consent.confirmed_at is None:
        say_next(CONFIRM if settings.smtp_url is not None else NO_MAILS_YET)
    _wake_dagster_tasks()
    return athlete_id


def _ask_for_import(connection: Connection, athlete_id: int) -> None:
    """Ask for the import of an athlete's whole history, and for the partition, with the athlete's tokens."""
    set_task(connection, athlete_id, DagsterTask.REGISTER)
    make_import(connection, athlete_id, None, None, HISTORY_STEPS, profile=True, by=MadeBy.CONNECT)


def _ended(began: Ended) -> Answer:
    match began:
        case Ended.EXPIRED:
            return _sorry("That took too long", "A connection must be finished within ten minutes.", HTTPStatus.GONE)
        case Ended.FOREIGN:
            return _sorry("Another browser began this", "Finish it there, or begin again here.", HTTPStatus.FORBIDDEN)
        case Ended.UNKNOWN:
            text = "This connection was finished before, or was not begun here. Each one works once."
            return _sorry("This link is used up", text, HTTPStatus.BAD_REQUEST)


def _failed(error: StravaPipelineError) -> Answer:
    """The page that says why the connection failed, and what the reader can do."""
    log.warning("a connection failed: %s", error)
    match error:
        case AppInactive():
            text = "Strava has switched this app off: its owner needs a Strava subscription. Try again after that."
            return _sorry("The app is switched off", text, HTTPStatus.SERVICE_UNAVAILABLE)
        case ErasureUnderWay():
            text = "Nothing was stored. Try again in a few minutes."
            return _sorry("Your earlier data are still being deleted", text, HTTPStatus.SERVICE_UNAVAILABLE)
        case RetriableStravaError():
            title = "A backup is being checked" if isinstance(error, RestoreUnchecked) else "Strava does not answer"
            return _sorry(title, "Nothing was stored. Try again in a few minutes.", HTTPStatus.SERVICE_UNAVAILABLE)
        case RejectedRequest(status=HTTPStatus.FORBIDDEN):
            text = "The app has as many athletes as Strava allows it. Its owner can ask Strava for more."
            return _sorry("The app is full", text, HTTPStatus.FORBIDDEN)
        case RejectedRequest() if is_dead_code(error.fault):
            return _sorry(
                "Strava does not take the code", "It was used before, or is too old. Try again.", HTTPStatus.BAD_REQUEST
            )
    text = "Strava refuses the request. The operator finds the reason in the log."
    return _sorry("Strava refuses", text, HTTPStatus.BAD_GATEWAY)


def _sorry(title: str, text: str, status: int) -> Answer:
    return message(title, text, status, again=url_for("connect.invitation"))


def _wake_dagster_tasks() -> None:
    current_bridge().wake_dagster_tasks()
