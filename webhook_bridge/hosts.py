"""By which names the pages for people are reached: this machine's, the public one, those of ``STRAVA_BRIDGE_HOSTS``.

A page elsewhere can point its own name to this machine (DNS rebinding), and would then be of one origin with ours:
whatever the browser may see here, it could read. The name still stands in the request's ``Host``, and is refused.

Deliveries and health checks are answered by any name: Strava and proxies choose it, and what is answered to them is
worth nothing to a browser. So are the links in mails: who holds one is meant, and no cookie gives a right there. So
are the style sheet and the icon, which are the same for everybody. Flask's ``TRUSTED_HOSTS`` would refuse all of these,
too.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Flask, request
from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Response

from strava_pipeline.printable import printable
from strava_pipeline.redaction import SecretPath
from strava_pipeline.settings import LOOPBACK_HOSTS, Settings
from webhook_bridge.current import current_bridge
from webhook_bridge.pages import page

# By their paths, since each delivery passes here: to ask which blueprint has it would cost a few microseconds.
ANY_NAME = ("/webhooks/", "/health/", f"{SecretPath.CONFIRM}/", f"{SecretPath.UNSUBSCRIBE}/", "/static/")
# A name in DNS has no more.
LONGEST_NAME = 253


def install_host_check(app: Flask, settings: Settings) -> None:
    """Refuse what asks for a page for people by a name that is not ours."""
    ours = _our_names(settings)

    def refuse() -> Response | None:
        if request.path.startswith(ANY_NAME) or host_name(request.host) in ours:
            return None
        name = printable(host_name(request.host) or "an empty name", LONGEST_NAME)
        text = f"This page is not served as {name}: STRAVA_BRIDGE_HOSTS can name it, or STRAVA_BRIDGE_PUBLIC_URL."
        return page("not_by_this_name.html", HTTPStatus.FORBIDDEN, title="Not by this name", text=text)

    app.before_request(refuse)


def host_name(netloc: str) -> str:
    """The name in ``name:port``, in small letters, as it stands in DNS; empty for what is none."""
    try:
        parts = urlsplit(f"//{netloc}")
        name = "" if parts.netloc != netloc or "@" in netloc else parts.hostname or ""
        return name if name.isascii() else name.encode("idna").decode()
    except ValueError:
        return ""


def base_url() -> str:
    """The public address of the bridge; without one the name by which the request came, which was checked."""
    return current_bridge().settings.bridge_public_url or f"{request.scheme}://{request.host}"


def base_url_for_strava() -> str:
    """The same for a browser that Strava is to send back: without a public address only by a name of this machine."""
    if current_bridge().settings.bridge_public_url is None and host_name(request.host) not in LOOPBACK_HOSTS:
        raise Forbidden("STRAVA_BRIDGE_PUBLIC_URL is not set: Strava could not send the browser back.")
    return base_url()


def _our_names(settings: Settings) -> frozenset[str]:
    public = urlsplit(settings.bridge_public_url or "").netloc
    named = [public, *(settings.bridge_hosts or "").split(",")]
    return LOOPBACK_HOSTS | {host_name(name.strip()) for name in named} - {""}
