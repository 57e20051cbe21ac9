"""Blueprint: the pages on which archives are uploaded, the operator's and, behind a link, an athlete's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from flask import Blueprint, redirect, request, session, url_for
from sqlalchemy import Connection
from werkzeug.exceptions import BadRequest
from werkzeug.wrappers import Response

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.printable import printable
from strava_pipeline.redaction import SecretPath
from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
from strava_pipeline.warehouse.archives.imports import ArchiveImport, list_imports
from strava_pipeline.warehouse.states import UploadState
from strava_pipeline.warehouse.uploads import links
from strava_pipeline.warehouse.uploads.rows import Upload, uploads_of
from strava_pipeline.web.operator_door import invite_proof
from strava_pipeline.web.upload_link import sign_upload_link
from webhook_bridge.current import current_bridge
from webhook_bridge.hosts import base_url
from webhook_bridge.operator_login import operator_gate, require_token
from webhook_bridge.pages import Answer, install_pages, page
from webhook_bridge.sessions import said, say_next
from webhook_bridge.upload_api import ATHLETE, LONGEST_NUMBER
from webhook_bridge.upload_doors import door_of_link

IMPORTS_SHOWN = 10
# The policy of a page with the script of ours.
SCRIPT_POLICY = "; script-src 'self'; connect-src 'self'"

OPERATOR_KNOWS = "The operator's page says why."
# A path from the root or somebody's home, or an address; members of an archive have neither.
_PLACE = re.compile(r"(?<![\w.])~?/\w|\w://")

upload_pages = Blueprint("upload_pages", __name__, template_folder="templates")
install_pages(upload_pages)


@dataclass(frozen=True)
class Handed:
    """What a page tells of an athlete: the upload that is not finished, and what was handed in, the newest first."""

    open: Upload | None
    imports: Sequence[ArchiveImport]


@upload_pages.get(f"/athletes/{ATHLETE}/archive")
def of_athlete(athlete_id: int) -> Answer | Response:
    """Show the operator's page for an athlete's archive; the athlete need not have connected."""
    if (elsewhere := operator_gate()) is not None:
        return elsewhere
    proof = invite_proof(current_bridge().settings)
    with current_bridge().engine.begin() as connection:
        handed = _handed(connection, athlete_id)
        living = links.links_of(connection, athlete_id, proof)
    return _page(
        "archive.html",
        handed,
        url_for("upload_pages.of_athlete", athlete_id=athlete_id),
        athlete_id=athlete_id,
        links=living,
        new_link=_take_new_link(athlete_id),
        told=said(),
    )


@upload_pages.get("/athletes/archive")
def find_athlete() -> Response:
    """Lead to the page of the athlete whose id a form gives."""
    if (elsewhere := operator_gate()) is not None:
        return elsewhere
    given = request.args.get("athlete", "").strip()
    if not given.isascii() or not given.isdecimal() or len(given) > LONGEST_NUMBER or int(given) == 0:
        raise BadRequest("Give the athlete's id, the number in the address of their page at Strava.")
    return redirect(url_for("upload_pages.of_athlete", athlete_id=int(given)), HTTPStatus.SEE_OTHER)


@upload_pages.post(f"/athletes/{ATHLETE}/archive/links")
def make_link(athlete_id: int) -> Response:
    """Make a link by which the athlete may upload."""
    _need_operator()
    with current_bridge().engine.begin() as connection:
        secret = links.new_link(connection, athlete_id, invite_proof(current_bridge().settings))
        note_action(connection, Actor.OPERATOR, "invite", f"athlete {athlete_id}", detail="to upload")
    address = url_for("upload_pages.by_link", link=sign_upload_link(current_bridge().keyring, secret))
    session["new_upload_link"] = {"athlete": athlete_id, "address": f"{base_url()}{address}"}
    return _to_page(athlete_id)


@upload_pages.post(f"/athletes/{ATHLETE}/archive/links/<int(max=9223372036854775807):link_id>/cancel")
def cancel_link(athlete_id: int, link_id: int) -> Response:
    """Cancel a link."""
    _need_operator()
    with current_bridge().engine.begin() as connection:
        found = links.cancel_link(connection, athlete_id, link_id)
        note_action(connection, Actor.OPERATOR, "cancel", f"athlete {athlete_id}", ok=found, detail="a link to upload")
    say_next("The link is canceled." if found else "There is no such link any more.")
    return _to_page(athlete_id)


@upload_pages.get(f"{SecretPath.UPLOAD}/<link>")
def by_link(link: str) -> Answer:
    """Show the page on which an athlete uploads."""
    require_token()
    door = door_of_link(link)
    with current_bridge().engine.begin() as connection:
        handed = _without_paths(_handed(connection, door.athlete_id))
    answer = _page(
        "upload.html",
        handed,
        url_for("upload_pages.by_link", link=link),
        ends_at=door.ends_at,
        athlete_id=door.athlete_id,
    )
    # The browser must not send this address, which holds the secret; with no-referrer it would hide the form's origin.
    answer.headers["Referrer-Policy"] = "strict-origin"
    return answer


def _page(template: str, handed: Handed, address: str, **context: Any) -> Answer:
    settings = current_bridge().settings
    try:
        settings.uploads_to_write()
        unusable = None
    except ConfigurationError as error:
        unusable = printable(str(error))
    answer = page(
        template,
        handed=handed,
        address=address,
        most_bytes=settings.upload_max_bytes,
        most_gib=f"{settings.upload_max_gib:g}",
        unusable=unusable,
        **context,
    )
    answer.headers["Content-Security-Policy"] += SCRIPT_POLICY
    return answer


def _handed(connection: Connection, athlete_id: int) -> Handed:
    theirs = uploads_of(connection, athlete_id)
    on_its_way = next((upload for upload in theirs if upload.state is UploadState.OPEN), None)
    return Handed(on_its_way, list_imports(connection, athlete_id)[:IMPORTS_SHOWN])


def _without_paths(handed: Handed) -> Handed:
    """What an athlete is told: a reason that names a folder or an address of ours is the operator's to read."""
    return replace(
        handed,
        imports=[
            replace(each, failure=OPERATOR_KNOWS) if each.failure and _PLACE.search(each.failure) else each
            for each in handed.imports
        ],
    )


def _take_new_link(athlete_id: int) -> str | None:
    """The address of a link that was just made for this athlete: it is shown once."""
    made = session.pop("new_upload_link", None)
    return made["address"] if made is not None and made["athlete"] == athlete_id else None


def _need_operator() -> None:
    operator_gate()  # raises Forbidden, since no form is sent by GET


def _to_page(athlete_id: int) -> Response:
    return redirect(url_for("upload_pages.of_athlete", athlete_id=athlete_id, _anchor="links"), HTTPStatus.SEE_OTHER)
