"""Serves the pages for people under our names only: this machine's, the public one, and ``STRAVA_BRIDGE_HOSTS``.

Another site can point its own name to this machine (DNS rebinding). Its pages would then share our origin, and could
read whatever the browser sees here. Such a request has the site's name in ``Host``, and is refused.

Some paths are served under any name. For deliveries and health checks Strava and proxies choose the name, and the
answers are worth nothing to a browser. Links in mails give their right to whoever holds one, without any cookie. The
style sheet and the icon are public. Metrics need a token that no page of another site has. Flask's ``TRUSTED_HOSTS``
would refuse these paths, too.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from flask import Flask, request
from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Response

from strava_pipeline.printable import printable
from strava_pipeline.redaction import SecretPath
from strava_pipeline.settings import Settings
from strava_pipeline.settings_values import LOOPBACK_HOSTS
from webhook_bridge.current import current_bridge
from webhook_bridge.pages import page

# Paths, not blueprints: each delivery passes here, and to look up its blueprint would cost a few microseconds.
ANY_NAME = ("/webhooks/", "/health/", f"{SecretPath.CONFIRM}/", f"{SecretPath.UNSUBSCRIBE}/", "/static/")
METRICS_PATH = "/metrics"
# Characters of the longest name in DNS.
LONGEST_NAME = 253


def install_host_check(app: Flask, settings: Settings) -> None:
    """Refuse requests for pages for people under a name that is not ours."""
    ours = our_names(settings)
    any_name = ANY_NAME if settings.metrics_token is None else (*ANY_NAME, METRICS_PATH)

    def refuse() -> Response | None:
        if request.path.startswith(any_name) or host_name(request.host) in ours:
            return None
        name = printable(host_name(request.host) or "an empty name", LONGEST_NAME)
        text = f"This page is not served as {name}: to allow that, add the name to STRAVA_BRIDGE_HOSTS."
        return page("not_by_this_name.html", HTTPStatus.FORBIDDEN, title="Not by this name", text=text)

    app.before_request(refuse)


def host_name(netloc: str) -> str:
    """The name in ``name:port``, in small letters, as DNS has it (IDNA); empty if it is no valid name."""
    try:
        parts = urlsplit(f"//{netloc}")
        name = "" if parts.netloc != netloc or "@" in netloc else parts.hostname or ""
        return name if name.isascii() else name.encode("idna").decode()
    except ValueError:
        return ""


def base_url() -> str:
    """The bridge's public URL; if none is set, the URL of the current request's host, which was checked."""
    return current_bridge().settings.bridge_public_url or f"{request.scheme}://{request.host}"


def base_url_for_strava() -> str:
    """The base URL to which Strava sends the browser back.

    ``Forbidden`` if no public URL is set and the request came under another name than this machine's.
    """
    if current_bridge().settings.bridge_public_url is None and host_name(request.host) not in LOOPBACK_HOSTS:
        raise Forbidden("STRAVA_BRIDGE_PUBLIC_URL is not set: Strava could not send the browser back.")
    return base_url()


def our_names(settings: Settings) -> frozenset[str]:
    """The names under which pages are served: this machine's, the public one, and ``STRAVA_BRIDGE_HOSTS``."""
    public = urlsplit(settings.bridge_public_url or "").netloc
    named = [public, *(settings.bridge_hosts or "").split(",")]
    return LOOPBACK_HOSTS | {host_name(name.strip()) for name in named} - {""}
