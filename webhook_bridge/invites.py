"""Links by which the operator lets others connect: signed, good for a week, and remembered by the browser."""

from __future__ import annotations

import hashlib
import time
from datetime import timedelta

from flask import current_app, session
from itsdangerous import BadData, URLSafeTimedSerializer
from werkzeug.exceptions import Forbidden

from strava_pipeline.settings import Settings
from webhook_bridge.sessions import session_id

LIFETIME = timedelta(days=7)
CONTENT = "connect"


def new_invite() -> str:
    """The secret part of a link."""
    signed = _signer().dumps(CONTENT)
    return signed if isinstance(signed, str) else signed.decode()


def take_invite(invite: str) -> None:
    """Let the browser connect until the link ends, also after a mishap. ``Forbidden`` if the link is no good."""
    try:
        _, since = _signer().loads(invite, max_age=int(LIFETIME.total_seconds()), return_timestamp=True)
    except BadData:
        raise Forbidden("This link is too old, or not whole. Ask whoever runs this for a new one.") from None
    session_id()
    session["invited_until"] = int(since.timestamp() + LIFETIME.total_seconds())


def is_invited() -> bool:
    """Whether the browser came by a link that is still good."""
    until = session.get("invited_until")
    return isinstance(until, int) and time.time() < until


def _signer() -> URLSafeTimedSerializer:
    settings: Settings = current_app.extensions["settings"]
    # A new operator's token ends all links.
    token = settings.operator_token.get_secret_value() if settings.operator_token else ""
    return URLSafeTimedSerializer(
        [current_app.extensions["invite_key"] + token.encode()],
        salt="strava-pipeline-invite",
        signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
    )
