"""Blueprint: an athlete connects by Strava's consent page, and is disconnected by the operator.

Who may connect: the operator, and whoever has a link of theirs, which is good for a week. On the machine itself, as
long as no ``STRAVA_OPERATOR_TOKEN`` is set: everybody there.
"""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from flask import Blueprint, current_app, redirect, request, url_for
from sqlalchemy import Engine
from werkzeug.exceptions import BadRequest, Forbidden
from werkzeug.wrappers import Response

from strava_pipeline.access import open_tokens
from strava_pipeline.disconnect import disconnect
from strava_pipeline.errors import (
    AppInactive,
    ConfigurationError,
    RejectedRequest,
    RetriableStravaError,
    StravaPipelineError,
    UnknownAthlete,
)
from strava_pipeline.notifications.addresses import checked_address
from strava_pipeline.settings import LOOPBACK_HOSTS, Settings
from strava_pipeline.strava.http import new_session
from strava_pipeline.strava.oauth import WANTED_SCOPES, authorize_url, exchange_code
from strava_pipeline.strava.payload import athlete_row
from strava_pipeline.warehouse import oauth_states
from strava_pipeline.warehouse.athletes import store_athlete
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.mail_consent import consent_of
from strava_pipeline.warehouse.oauth_states import Began, Ended
from strava_pipeline.warehouse.operator_audit import Actor, note_action
from webhook_bridge.dagster_tasks import IMPORT
from webhook_bridge.invites import is_invited, take_invite
from webhook_bridge.operator import may_act, operator_gate
from webhook_bridge.pages import OK, Answer, install_pages, message, page
from webhook_bridge.sessions import check_form, said, say_next, session_id

log = logging.getLogger(__name__)

FOUND, SEE_OTHER = 302, 303
BAD_REQUEST, FORBIDDEN, GONE, SERVER_ERROR, BAD_GATEWAY, UNAVAILABLE = 400, 403, 410, 500, 502, 503
# Digits; every number that short fits into a BIGINT.
LONGEST_ID = 18
CONFIRM = (
    "A mail is on its way to your address. Open its link within a week and press the button there: ride summaries begin"
    " after that."
)
NO_MAILS_YET = (
    "This installation sends no mails yet. If it begins to within a week, one asks you to confirm your address; if not,"
    " the address is erased."
)
# Without one of these Strava tells of no activity.
ACTIVITY_SCOPES = frozenset({"activity:read", "activity:read_all"})

connect = Blueprint("connect", __name__, template_folder="templates")
install_pages(connect)


@connect.get("/connect")
def invitation() -> Answer:
    """What will happen, and the button that leads to Strava."""
    _check_may_connect()
    return _invitation()


@connect.get("/oauth/connect")
def begin() -> Response:
    """On to Strava's consent page at once."""
    _check_may_connect()
    return _to_strava(None)


@connect.post("/oauth/connect")
def begin_with_address() -> Answer | Response:
    """The same, with an address for ride summaries."""
    check_form()
    _check_may_connect()
    try:
        return _to_strava(_checked_email(request.form.get("email", "")))
    except ValueError:
        return _invitation(BAD_REQUEST, bad_email=request.form["email"])


@connect.get("/oauth/callback")
def callback() -> Answer | Response:
    """Where Strava sends the browser back to: tokens for the code, then on to an address without it."""
    answers = {name: request.args.getlist(name) for name in ("state", "code", "error", "scope")}
    if any(len(given) > 1 for given in answers.values()) or bool(answers["code"]) == bool(answers["error"]):
        return _sorry("This is no answer of Strava's", "Begin once more from the start.", BAD_REQUEST)
    with _engine().begin() as connection:
        began = oauth_states.redeem(connection, "".join(answers["state"]), session_id())
    if isinstance(began, Ended):
        return _ended(began)
    if answers["error"]:
        return _sorry("Not connected", "Access was declined on Strava's page. Nothing was stored.", FORBIDDEN)
    scopes = tuple(filter(None, "".join(answers["scope"]).split(",")))
    if scopes and ACTIVITY_SCOPES.isdisjoint(scopes):
        return _sorry(
            "Not connected",
            "The permission to see activities was not given, and without it Strava tells of none. Try again, and leave"
            " the boxes on Strava's page ticked.",
            FORBIDDEN,
        )
    try:
        _finish(answers["code"][0], scopes or WANTED_SCOPES, began)
    except StravaPipelineError as error:
        return _failed(error)
    lacking = ",".join(scope for scope in WANTED_SCOPES if scopes and scope not in scopes)
    return redirect(url_for("connect.connected", lacks=lacking or None), SEE_OTHER)


@connect.get("/oauth/connected")
def connected() -> Answer:
    """The end of a connection, at an address that tells nothing."""
    told = request.args.get("lacks", "").split(",")
    lacks = [scope for scope in WANTED_SCOPES if scope in told]
    return page("connected.html", lacks=lacks, is_operator=may_act(), told=said())


@connect.post("/oauth/disconnect")
def leave() -> Answer | Response:
    """End an athlete's grant at Strava and erase what is here of them; for the operator."""
    check_form()
    operator_gate()
    given = request.form.get("athlete", "")
    if not given.isascii() or not given.isdecimal() or len(given) > LONGEST_ID:
        raise BadRequest("Which athlete?")
    keep_data = not _settings().purge_on_deauthorization
    try:
        gone = disconnect(_settings(), _engine(), int(given), keep_data=keep_data, actor=Actor.OPERATOR)
    except UnknownAthlete:
        raise BadRequest(f"Athlete {given} is not connected.") from None
    _wake_dagster_tasks()
    told = f"Athlete {given} is disconnected; {gone.erased.rows} rows were deleted."
    if gone.left_at_strava is not None:
        told += " Strava could not be told: the athlete can end the grant there, under My Apps."
    say_next(told)
    return redirect(url_for("status.overview"), SEE_OTHER)


def _check_may_connect() -> None:
    if invite := request.args.get("invite"):
        take_invite(invite)
    if not may_act() and not is_invited():
        raise Forbidden("Ask whoever runs this for a link: connecting needs one, and it is good for a week.")


def _invitation(status: int = OK, *, bad_email: str | None = None) -> Answer:
    mails = _settings().smtp_url is not None
    return page("connect.html", status, is_operator=may_act(), sends_mails=mails, bad_email=bad_email)


def _to_strava(email: str | None) -> Response:
    settings = _settings()
    settings.required("client_secret")  # what would fail on the way back fails here
    with _engine().begin() as connection:
        state = oauth_states.begin(connection, session_id(), email)
    # After a form the browser is to come by GET, whatever it sent.
    how = SEE_OTHER if request.method == "POST" else FOUND
    return redirect(authorize_url(settings, _redirect_uri(), state=state), how)


def _redirect_uri() -> str:
    """Where Strava is to send the browser back to: never a host that only the request names."""
    public = _settings().bridge_public_url
    if public is None:
        if urlsplit(f"//{request.host}").hostname not in LOOPBACK_HOSTS:
            raise Forbidden("STRAVA_BRIDGE_PUBLIC_URL is not set: Strava could not send the browser back.")
        public = f"http://{request.host}"
    return f"{public}{url_for('connect.callback')}"


def _checked_email(given: str) -> str | None:
    """``ValueError`` if it is no address; ``None`` for none."""
    given = given.strip()
    return checked_address(given) if given else None


def _finish(code: str, scopes: tuple[str, ...], began: Began) -> None:
    settings, engine = _settings(), _engine()
    tokens = open_tokens(settings, engine)
    athlete_id, grant = tokens.exchanged(
        lambda: exchange_code(settings, new_session(), code), scopes, email=began.email, dagster_task=IMPORT
    )
    actor = Actor.OPERATOR if may_act() else Actor.ATHLETE
    with engine.begin() as connection:
        note_action(connection, actor, "connect", f"athlete {athlete_id}", detail=f"scopes {','.join(scopes)}")
        store_athlete(connection, athlete_row(grant.athlete or {}), now(connection))
        consent = consent_of(connection, athlete_id)
    if began.email is not None and consent is not None and consent.confirmed_at is None:
        say_next(CONFIRM if settings.smtp_url is not None else NO_MAILS_YET)
    _wake_dagster_tasks()


def _ended(began: Ended) -> Answer:
    match began:
        case Ended.EXPIRED:
            return _sorry("That took too long", "A connection has to be finished within ten minutes.", GONE)
        case Ended.FOREIGN:
            return _sorry("Another browser began this", "Finish it there, or begin once more here.", FORBIDDEN)
        case Ended.UNKNOWN:
            text = "This connection was finished before, or was not begun here. Each one works once."
            return _sorry("This link is used up", text, BAD_REQUEST)


def _failed(error: StravaPipelineError) -> Answer:
    """Why the code did not become a connection, for a person who can do something about it."""
    log.warning("a connection failed: %s", error)
    match error:
        case AppInactive():
            text = "Strava has switched this app off: its owner needs a Strava subscription. Try again after that."
            return _sorry("The app is switched off", text, UNAVAILABLE)
        case RetriableStravaError():
            return _sorry("Strava does not answer", "Nothing was stored. Try again in a few minutes.", UNAVAILABLE)
        case RejectedRequest(status=403):
            text = "The app has as many athletes as Strava allows it. Its owner can ask Strava for more."
            return _sorry("The app is full", text, FORBIDDEN)
        case RejectedRequest() if error.fault.field == "code" or error.fault.resource == "AuthorizationCode":
            return _sorry("Strava does not take the code", "It was used before, or is too old. Try again.", BAD_REQUEST)
        case ConfigurationError():
            return _sorry("A setting is wrong here", "Whoever runs this finds the reason in the log.", SERVER_ERROR)
    text = "Strava refuses the request. Whoever runs this finds the reason in the log."
    return _sorry("Strava refuses", text, BAD_GATEWAY)


def _sorry(title: str, text: str, status: int) -> Answer:
    return message(title, text, status, again=url_for("connect.invitation"))


def _wake_dagster_tasks() -> None:
    current_app.extensions["dagster_tasks_wake"]()


def _settings() -> Settings:
    settings: Settings = current_app.extensions["settings"]
    return settings


def _engine() -> Engine:
    engine: Engine = current_app.extensions["engine"]
    return engine
